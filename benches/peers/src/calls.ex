defmodule Peers.Calls do
  @moduledoc """
  Calls to the guild process, a `GenServer` that changes a member in its table with each: under load, and at a rate
  beside scans.
  """

  alias Peers.{Measure, Members, Scans, Slices, World}

  defmodule Guild do
    @moduledoc "The guild process: numbers changes, and makes them in the tables that it owns."
    use GenServer

    @impl true
    def init(new_tables), do: {:ok, {List.to_tuple(new_tables.()), 0}}

    @impl true
    def handle_call({:rename, id, at, nick}, _from, {tables, seq}) do
      true = :ets.update_element(elem(tables, Scans.part(id, tuple_size(tables))), id, {at, nick})
      {:reply, {:ok, seq + 1}, {tables, seq + 1}}
    end

    def handle_call(:nothing, _from, state), do: {:reply, :ok, state}
    def handle_call(:tables, _from, {tables, _} = state), do: {:reply, Tuple.to_list(tables), state}
    def handle_call(:seq, _from, {_, seq} = state), do: {:reply, seq, state}
  end

  @members 1_000_000
  @callers 64
  @calls %{full: 400_000, quick: 100_000}
  @runs %{full: 7, quick: 3}
  @nick "changed nick"
  @scan_heap_words 1_000_000

  @doc "Callers that call one call after the other."
  def under_load(run) do
    guild = start_guild([], fn -> [Members.table(:fields)] end)

    ids = @calls[run] |> World.random_numbers(@members) |> Enum.map(&World.user/1)
    change = measure_load(guild, run, Enum.map(ids, &{:rename, &1, 3, @nick}))
    # Each run counts, and the one to warm up.
    expected = @calls[run] * (@runs[run] + 1)
    ^expected = GenServer.call(guild, :seq, :infinity)
    empty = measure_load(guild, run, Enum.map(ids, fn _ -> :nothing end))

    what =
      "ns a GenServer.call that changes a member's nick in an ETS table of 1 M and is answered with its number, " <>
        "#{@callers} callers at once; a call that does nothing: #{Measure.show(empty)}"

    {change, "ns", what}
  end

  defp measure_load(guild, run, requests) do
    shares = Enum.chunk_every(requests, div(@calls[run], @callers))

    Measure.middle(@runs[run], 1, fn ->
      callers =
        Enum.map(shares, fn requests ->
          Measure.start([min_heap_size: 100_000], fn ->
            receive do: (:go -> Enum.each(requests, &GenServer.call(guild, &1, :infinity)))
          end)
        end)

      {ns, _} =
        Measure.timed(fn ->
          Enum.each(callers, fn {pid, _} -> send(pid, :go) end)
          Enum.map(callers, &Measure.finish/1)
        end)

      ns / @calls[run]
    end)
  end

  @doc "The p99 of calls offered at 1,000 a second, each measured from the time it was due."
  def p99(beside, run) do
    Scans.prepare()
    guild = start_guild([priority: :high], fn -> Scans.member_tables(2, write_concurrency: true) end)
    scans = start_scans(beside, guild)
    calls = Slices.slice_calls()
    requests = calls |> World.random_numbers(@members) |> Enum.map(&{:rename, World.user(&1), 4, @nick})

    {ms, quiet, counted} =
      Slices.p99(run, fn ->
        latencies = offer(guild, requests)
        ^calls = length(latencies)
        latencies
      end)

    n_scans = Enum.sum(Enum.map(scans, &stop_scans/1))
    {ms, "ms", what(beside, n_scans, counted), quiet}
  end

  defp what(beside, n_scans, counted) do
    beside =
      if beside == :scan,
        do:
          "while 2 workers of low priority scan 1 M members for @here in chunks, back to back " <>
            "(#{n_scans} half scans meanwhile)",
        else: "idle otherwise"

    "ms p99 of calls that change a member, 1,000 a second, each from the time it was due, #{beside}; of the middle slice; " <>
      "#{counted}; guild and caller of high priority, the caller spins on a scheduler of its own"
  end

  defp start_guild(spawn_options, new_tables) do
    spawn_options = [{:message_queue_data, :off_heap} | spawn_options]
    {:ok, guild} = GenServer.start_link(Guild, new_tables, timeout: :infinity, spawn_opt: spawn_options)
    guild
  end

  defp start_scans(:idle, _guild), do: []

  defp start_scans(:scan, guild) do
    for table <- GenServer.call(guild, :tables, :infinity) do
      Measure.start([priority: :low], fn -> scan_on(table, 0) end)
    end
  end

  defp scan_on(table, count) do
    # A process for each scan: its heap goes with it, and no garbage is collected beside the calls.
    :found =
      Measure.in_process([priority: :low, min_heap_size: @scan_heap_words], fn ->
        [_ | _] = Scans.ids(table, :here, :chunks)
        :found
      end)

    receive do
      :stop -> count + 1
    after
      0 -> scan_on(table, count + 1)
    end
  end

  defp stop_scans({pid, _} = worker) do
    send(pid, :stop)
    Measure.finish(worker)
  end

  # Open loop: one process sends each request when it is due, whether or not earlier ones are answered.
  defp offer(guild, requests) do
    first = System.monotonic_time(:nanosecond) + 10_000_000
    offer(guild, requests, first, %{}, [])
  end

  defp offer(_guild, [], _due, pending, latencies) when pending == %{}, do: latencies

  defp offer(guild, requests, due, pending, latencies) do
    left = due - System.monotonic_time(:nanosecond)

    if left <= 0 and requests != [] do
      [request | requests] = requests
      ref = make_ref()
      send(guild, {:"$gen_call", {self(), ref}, request})
      offer(guild, requests, due + 1_000_000, Map.put(pending, ref, due), latencies)
    else
      receive do
        {ref, {:ok, _seq}} ->
          {due_then, pending} = Map.pop!(pending, ref)
          latency = System.monotonic_time(:nanosecond) - due_then
          offer(guild, requests, due, pending, [latency | latencies])
      after
        0 -> offer(guild, requests, due, pending, latencies)
      end
    end
  end
end
