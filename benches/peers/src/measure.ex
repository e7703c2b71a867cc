defmodule Peers.Measure do
  @moduledoc """
  How everything here is measured: in a process of its own, warmed up, and the middle of several runs.
  """

  @doc "Runs `fun` in a fresh process with the given heap, and returns what it returns."
  def in_process(options \\ [], fun) do
    {pid, monitor} = start(options, fun)
    finish({pid, monitor})
  end

  @doc "Starts `fun` in a fresh process; `finish/1` waits for what it returns."
  def start(options, fun) do
    :erlang.spawn_opt(fn -> exit({:done, fun.()}) end, [:monitor | options])
  end

  def finish({pid, monitor}) do
    receive do
      {:DOWN, ^monitor, :process, ^pid, {:done, result}} -> result
      {:DOWN, ^monitor, :process, ^pid, reason} -> exit(reason)
    end
  end

  @doc "How long `fun` takes, in nanoseconds, and what it returns."
  def timed(fun) do
    begin = System.monotonic_time(:nanosecond)
    result = fun.()
    {System.monotonic_time(:nanosecond) - begin, result}
  end

  @doc "The middle of `runs` values of `fun`, after `warm_up` that do not count."
  def middle(runs, warm_up, fun) do
    Enum.each(1..warm_up, fn _ -> fun.() end)
    values = Enum.map(1..runs, fn _ -> fun.() end)
    IO.puts(:stderr, "  " <> Enum.map_join(values, " ", &show/1))
    median(values)
  end

  def median(values), do: values |> Enum.sort() |> Enum.at(div(length(values), 2))

  @doc "A figure with three digits, for people."
  def show(value) when value >= 100, do: value |> round() |> to_string()
  def show(value), do: to_string(Float.round(value / 1, 3))
end
