defmodule Peers.FanOut do
  @moduledoc """
  From one guild process to many sessions in the manner of Manifold: an offloaded sender, and a partitioner for each
  scheduler that sends to its share of the sessions.

  - `:handed`: the guild hands the recipients over with each event, grouped by partitioner, as they may be others for
    each event;
  - `:kept`: the partitioners keep them, and the guild tells each the event alone.

  A session is a process that counts events and dies if one is out of order.
  """

  alias Peers.Measure

  @payload_bytes 300
  @key __MODULE__
  # By this it shows that a session died of an event out of order: a million links would cost more than what is
  # measured.
  @arrival_ms_max 60_000
  # Holds the recipients without collecting garbage.
  @guild_heap_words 4_000_000

  @doc "The guild's time for one event, all of which has arrived before the next one."
  def publish(way, n_sessions, run) do
    events = events(n_sessions, run)

    us =
      Measure.in_process([priority: :high, min_heap_size: @guild_heap_words], fn ->
        guild = start(way, n_sessions, 1)
        [_warm_up | taken] = Enum.map(0..events, &publish_one(guild, &1 + 1))
        Measure.median(taken) / 1_000
      end)

    what =
      "us of the guild process's time for one event of #{@payload_bytes} bytes to #{n_sessions} sessions (processes), " <>
        "#{told(way)}; the middle of #{events} events"

    {us, "us", what}
  end

  @doc "Events published back to back, until every session has counted all."
  def deliver(way, n_sessions, run) do
    burst = max(div(1_000_000, n_sessions), if(run == :full, do: 2, else: 1))
    runs = if run == :full, do: if(n_sessions == 1_000_000, do: 3, else: 7), else: 1

    per_s =
      Measure.in_process([priority: :high, min_heap_size: @guild_heap_words], fn ->
        guild = start(way, n_sessions, burst)
        runs = Enum.map(0..runs, &deliver_burst(guild, &1, burst))
        runs |> tl() |> Enum.map(&(burst * n_sessions / &1 * 1.0e9)) |> Measure.median()
      end)

    what =
      "deliveries a second of events of #{@payload_bytes} bytes to #{n_sessions} sessions (processes that count), " <>
        "#{burst} events back to back until all have them, #{told(way)}, #{System.schedulers_online()} partitioners"

    {per_s, "per_s", what}
  end

  defp told(:handed),
    do: "recipients by partitioner handed to an offloaded sender with each event, in the manner of Manifold"

  defp told(:kept), do: "recipients kept by the partitioners, which the guild tells the event alone"

  # As many as take some seconds.
  defp events(1_000_000, :quick), do: 1
  defp events(1_000_000, :full), do: 5
  defp events(n_sessions, :quick), do: div(500_000, n_sessions)
  defp events(n_sessions, :full), do: div(2_000_000, n_sessions)

  defp publish_one(guild, seq) do
    {ns, :ok} = Measure.timed(fn -> publish_event(guild, seq) end)
    await_all()
    ns
  end

  defp deliver_burst(guild, number, burst) do
    {ns, :ok} =
      Measure.timed(fn ->
        first = number * burst + 1
        Enum.each(first..(first + burst - 1), &publish_event(guild, &1))
        await_all()
      end)

    ns
  end

  defp publish_event(%{way: :handed, sender: sender, groups: groups, payload: payload}, seq) do
    send(sender, {:publish, groups, {seq, payload}})
    :ok
  end

  defp publish_event(%{way: :kept, groups: groups, payload: payload}, seq) do
    Enum.each(groups, fn {partitioner, _pids} -> send(partitioner, {:event, {seq, payload}}) end)
  end

  defp await_all do
    receive do
      :all_have_counted -> :ok
    after
      @arrival_ms_max -> exit(:not_all_have_counted)
    end
  end

  defp start(way, n_sessions, burst) do
    arrived = :atomics.new(1, [])
    :persistent_term.put(@key, {arrived, n_sessions, burst, self()})
    n_partitioners = System.schedulers_online()

    partitioners =
      for at <- 1..n_partitioners do
        share = div(n_sessions * at, n_partitioners) - div(n_sessions * (at - 1), n_partitioners)
        guild = self()
        :erlang.spawn_opt(fn -> start_partitioner(guild, share) end, sender_options())
      end

    groups =
      for partitioner <- partitioners do
        receive do
          {:sessions, ^partitioner, pids} -> {partitioner, pids}
        end
      end

    sender = :erlang.spawn_opt(fn -> offloaded() end, sender_options())
    %{way: way, sender: sender, groups: groups, payload: :binary.copy(<<7>>, @payload_bytes)}
  end

  # Of high priority, so that a burst is sent before sessions run, and a session finds several events when it does.
  defp sender_options, do: [:link, priority: :high, message_queue_data: :off_heap]

  defp offloaded do
    receive do
      {:publish, groups, event} ->
        Enum.each(groups, fn {partitioner, pids} -> send(partitioner, {:send, pids, event}) end)
        offloaded()
    end
  end

  # What is handed over is copied each time, and a tuple is half as long as a list.
  defp start_partitioner(guild, n_sessions) do
    options = [message_queue_data: :off_heap]
    pids = for _ <- 1..n_sessions, do: :erlang.spawn_opt(__MODULE__, :session, [0], options)
    pids = List.to_tuple(pids)
    send(guild, {:sessions, self(), pids})
    partitioner(pids)
  end

  defp partitioner(kept) do
    receive do
      {:send, pids, event} -> send_all(pids, tuple_size(pids), event)
      {:event, event} -> send_all(kept, tuple_size(kept), event)
    end

    partitioner(kept)
  end

  defp send_all(_pids, 0, _event), do: :ok

  defp send_all(pids, at, event) do
    send(:erlang.element(at, pids), event)
    send_all(pids, at - 1, event)
  end

  @doc false
  def session(counted) do
    receive do
      {seq, _payload} when seq == counted + 1 ->
        tell_at_the_end(seq)
        session(seq)

      unexpected ->
        exit({:out_of_order, counted, unexpected})
    end
  end

  defp tell_at_the_end(seq) do
    {arrived, n_sessions, burst, guild} = :persistent_term.get(@key)

    if rem(seq, burst) == 0 and :atomics.add_get(arrived, 1, 1) == n_sessions do
      :atomics.put(arrived, 1, 0)
      send(guild, :all_have_counted)
    end
  end
end
