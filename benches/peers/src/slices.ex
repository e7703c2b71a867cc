defmodule Peers.Slices do
  @moduledoc """
  Latencies in slices of time, by the rule of our own rows (`benches/src/latency.rs`, `machine.rs`): what others take of
  the machine delays calls whatever is measured, so the slices that count are those in which they took little, or, where
  these are few, the few in which they took least. The figure is the p99 of the middle one.
  """

  alias Peers.Measure

  # As long as a slice of ours, with as many calls: 1,000 a second for a quarter of one.
  @slice_calls 250
  # Enough quiet ones; and as many as our own rows have time for, of each of two kinds.
  @quiet %{full: 30, quick: 3}
  @slices_max %{full: 80, quick: 8}
  # What others may take of a slice that counts, and the least slices that do.
  @others_max 0.03
  @counted_min 5

  def slice_calls, do: @slice_calls

  @doc """
  Measures slices by `measure`, which returns the latencies of one in nanoseconds: the p99 of the middle one in
  milliseconds, how many were quiet, and in words how many count.
  """
  def p99(run, measure) do
    Measure.in_process(measure)
    slices = measure_more(run, measure, [])
    quiet = n_quiet(slices)
    counted = slices |> Enum.sort_by(fn {_p99, others} -> others end) |> Enum.take(max(quiet, @counted_min))
    most = counted |> Enum.map(fn {_p99, others} -> others * 100 end) |> Enum.max()

    words =
      "#{length(counted)} of #{length(slices)} slices of #{@slice_calls} calls count, others had up to " <>
        "#{Measure.show(most)} % of the machine in these"

    {counted |> Enum.map(fn {p99, _others} -> p99 end) |> Measure.median() |> Kernel./(1.0e6), quiet, words}
  end

  defp measure_more(run, measure, slices) do
    if n_quiet(slices) >= @quiet[run] or length(slices) >= @slices_max[run] do
      slices
    else
      {latencies, others} = watch(fn -> Measure.in_process([priority: :high, min_heap_size: 500_000], measure) end)
      p99 = latencies |> Enum.sort() |> Enum.at(div(length(latencies) * 99, 100))
      measure_more(run, measure, [{p99, others} | slices])
    end
  end

  defp n_quiet(slices), do: Enum.count(slices, fn {_p99, others} -> others <= @others_max end)

  # The share that others had of the processors that this VM may use.
  defp watch(fun) do
    ours = processors()
    {idle, own} = {idle_ms(ours), own_ms()}
    {took_ns, result} = Measure.timed(fun)
    all = took_ns / 1.0e6 * length(ours)
    {result, max(0.0, (all - (idle_ms(ours) - idle) - (own_ms() - own)) / all)}
  end

  defp own_ms, do: :erlang.statistics(:runtime) |> elem(0)

  # Each line is rounded for itself: where all processors are ours, that of all is rounded once.
  defp idle_ms(ours) do
    lines = File.read!("/proc/stat") |> String.split("\n") |> Enum.filter(&String.starts_with?(&1, "cpu"))
    [["cpu" | all] | each] = Enum.map(lines, &String.split/1)
    names = MapSet.new(ours, &"cpu#{&1}")
    here = for [name | fields] <- each, name in names, do: fields
    if length(here) == length(each), do: idle_ms_in(all), else: here |> Enum.map(&idle_ms_in/1) |> Enum.sum()
  end

  # What a processor has idled, and what it has waited for the disk, in hundredths of a second.
  defp idle_ms_in(fields), do: fields |> Enum.slice(3, 2) |> Enum.map(&(String.to_integer(&1) * 10)) |> Enum.sum()

  defp processors do
    [_, list] = Regex.run(~r/^Cpus_allowed_list:\s*(\S+)$/m, File.read!("/proc/self/status"))

    for range <- String.split(list, ","), number <- numbers(String.split(range, "-")), do: number
  end

  defp numbers([one]), do: [String.to_integer(one)]
  defp numbers([first, last]), do: Enum.to_list(String.to_integer(first)..String.to_integer(last))
end
