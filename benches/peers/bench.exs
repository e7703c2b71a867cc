# One row, as a line of JSON on stdout: elixir -pr 'src/*.ex' bench.exs ROW [--quick]

defmodule Peers.Bench do
  alias Peers.{Calls, FanOut, Members, Scans}

  def main([row | options]) do
    run = if "--quick" in options, do: :quick, else: :full
    {value, unit, what, more} =
      case row(row, run) do
        {value, unit, what} -> {value, unit, what, []}
        {value, unit, what, quiet} -> {value, unit, what, [quiet: quiet]}
      end

    what = if run == :quick, do: what <> "; quick: fewer runs", else: what
    fields = [name: row, value: Float.round(value / 1, 3), unit: unit, what: what] ++ more
    IO.puts(["{", Enum.map_intersperse(fields, ", ", &field/1), "}"])
  end

  defp row("member_bytes", run), do: Members.bytes(run)
  defp row("member_read", run), do: Members.read(run)
  defp row("member_write", run), do: Members.write(run)
  defp row("call", run), do: Calls.under_load(run)
  defp row("call_p99_idle", run), do: Calls.p99(:idle, run)
  defp row("call_p99_scan", run), do: Calls.p99(:scan, run)
  defp row("here_one", run), do: Scans.members(:here, 1, run)
  defp row("here_two", run), do: Scans.members(:here, 2, run)
  defp row("everyone_one", run), do: Scans.members(:everyone, 1, run)
  defp row("here_online_table", run), do: Scans.online_table(run)
  defp row("here_online_heap", run), do: Scans.online_heap(run)
  defp row("publish_kept_" <> size, run), do: FanOut.publish(:kept, sessions(size), run)
  defp row("publish_" <> size, run), do: FanOut.publish(:handed, sessions(size), run)
  defp row("deliver_kept_" <> size, run), do: FanOut.deliver(:kept, sessions(size), run)
  defp row("deliver_" <> size, run), do: FanOut.deliver(:handed, sessions(size), run)

  defp sessions("10k"), do: 10_000
  defp sessions("100k"), do: 100_000
  defp sessions("1m"), do: 1_000_000

  defp field({key, value}) when is_number(value), do: [?", to_string(key), "\": ", to_string(value)]

  defp field({key, value}) do
    escaped = value |> String.replace("\\", "\\\\") |> String.replace("\"", "\\\"")
    [?", to_string(key), "\": \"", escaped, ?"]
  end
end

Peers.Bench.main(System.argv())
