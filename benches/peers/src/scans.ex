defmodule Peers.Scans do
  @moduledoc """
  Who is to be pinged: the ids of the members who can see a channel, all of them or those online.

  The members lie in one ordered table for each worker, loaded in the order of their ids, so that a scan in order walks
  memory in order; role sets are interned, so that a scan decides once for each of them, and a match specification looks
  the decision up by the set's number. A scan leaves a list of ids in each worker; the channel is a hidden one, with
  overwrites of everyone, four roles and two users.
  """

  alias Peers.{Measure, Rights, World}

  @members 1_000_000
  @channel 1
  @runs %{full: 11, quick: 3}
  # A list of a million ids and what leads to it: a worker never collects garbage.
  @worker_heap_words 4_000_000
  # One in seven of the members is found: some 700 rows.
  @chunk_ids 100
  @key __MODULE__

  def members(question, n_workers, run) do
    expected = prepare()
    tables = member_tables(n_workers)
    ms = scan(tables, question, Map.fetch!(expected, question), run)

    what =
      "ms until #{n_workers} worker(s) hold the ids of the #{expected[question]} #{which(question)} who see a hidden " <>
        "channel; decided once for each of 40 k role sets, then users' overwrites; members in one ordered_set a worker, " <>
        "loaded in order of ids, ets:select with the decisions in the match specification, heap sized"

    {ms, "ms", what}
  end

  defp which(:here), do: "online members of 1 M (300 k online)"
  defp which(:everyone), do: "members of 1 M"

  def online_table(run) do
    expected = prepare()

    [sorted, shuffled] =
      for order <- [:sorted, :shuffled] do
        Measure.in_process(fn ->
          scan(online_tables(2, order), :online, expected.here, run)
        end)
      end

    what =
      "ms until 2 workers hold the ids of the #{expected.here} members who see a hidden channel, from a second table of " <>
        "300 k online (id, role set) in two parts; ordered_set filled in order of ids; filled in random order, as people " <>
        "come online, it takes #{Measure.show(shuffled)}; else as here_two"

    {sorted, "ms", what}
  end

  def online_heap(run) do
    expected = prepare()
    keepers = Enum.map(online(2), fn rows -> spawn_keeper(Map.new(rows)) end)
    ms = middle(run, expected.here, fn -> keepers |> Enum.map(&ask/1) |> Enum.map(&answer/1) end)

    what =
      "ms until 2 processes that keep a map of 300 k online (id, role set) in their own heaps hold the ids of the " <>
        "#{expected.here} members who see a hidden channel, asked by a message; no ETS"

    {ms, "ms", what}
  end

  @doc """
  Puts what scans need besides the tables where workers read it without a copy, and counts by the plain rule what they
  must find.
  """
  def prepare do
    rights = World.rights()
    overwrites = World.overwrites(@channel)
    sets = World.role_sets()
    :persistent_term.put(@key, {rights, overwrites, sets})
    exceptions = Rights.exceptions(rights, overwrites)
    # User 0 is nobody's: what roles alone make of the set.
    by_set = sets |> Enum.map(&Rights.sees?(rights, overwrites, 0, &1)) |> List.to_tuple()
    by_number = List.to_tuple(sets)

    World.fold_members(@members, %{here: 0, everyone: 0}, fn number, set, status, counts ->
      user = World.user(number)

      sees? =
        if user in exceptions,
          do: Rights.sees?(rights, overwrites, user, elem(by_number, set - 1)),
          else: elem(by_set, set - 1)

      cond do
        sees? and status == :online -> %{here: counts.here + 1, everyone: counts.everyone + 1}
        sees? -> %{counts | everyone: counts.everyone + 1}
        true -> counts
      end
    end)
  end

  @doc "The members, in as many tables as there are to be workers, owned by the calling process."
  def member_tables(n_tables, options \\ []) do
    tables = new_tables(n_tables, options)

    # One after the other, so that the rows of each lie side by side.
    for at <- 1..n_tables do
      World.fold_members(@members, :ok, fn number, set, status, :ok ->
        id = World.user(number)
        if part(id, n_tables) == at - 1, do: load(elem(tables, at - 1), number, id, set, status)
        :ok
      end)
    end

    Tuple.to_list(tables)
  end

  defp load(table, number, id, set, status) do
    true = :ets.insert(table, {id, set, status, World.nick(number), World.joined(number), 0})
  end

  @doc "Which of so many tables has this member."
  def part(id, n_tables), do: :erlang.phash2(id, n_tables)

  @doc """
  The ids of those in a table who are asked for; a worker's part of a scan.

  `:whole` is fastest; `:chunks` lets others run after each hundred ids that were found.
  """
  def ids(table, question, way) do
    {rights, overwrites, sets} = :persistent_term.get(@key)
    seeing = Rights.seeing_sets(rights, overwrites, sets)
    head = head(question)
    decided = {:element, :"$2", {:const, seeing}}
    found = select(way, table, [{head, [decided], [:"$1"]}])

    Enum.reduce(Rights.exceptions(rights, overwrites), found, fn user, found ->
      case :ets.select(table, [{put_elem(head, 0, user), [], [:"$2"]}]) do
        [set] -> except(found, user, set, seeing)
        [] -> found
      end
    end)
  end

  defp select(:whole, table, pattern), do: :ets.select(table, pattern)
  defp select(:chunks, table, pattern), do: chunks(:ets.select(table, pattern, @chunk_ids), [])

  defp chunks({ids, continuation}, found) do
    :erlang.yield()
    chunks(:ets.select(continuation), :lists.reverse(ids, found))
  end

  defp chunks(:"$end_of_table", found), do: found

  # A user for whom its roles do not tell: it is among those found if its roles say so.
  defp except(found, user, set, seeing) do
    {rights, overwrites, sets} = :persistent_term.get(@key)
    by_roles? = elem(seeing, set - 1)

    case Rights.sees?(rights, overwrites, user, Enum.at(sets, set - 1)) do
      ^by_roles? -> found
      true -> [user | found]
      false -> List.delete(found, user)
    end
  end

  defp head(:here), do: {:"$1", :"$2", :online, :_, :_, :_}
  defp head(:everyone), do: {:"$1", :"$2", :_, :_, :_, :_}
  defp head(:online), do: {:"$1", :"$2"}

  defp new_tables(count, options \\ []) do
    options = [:ordered_set, :protected, {:read_concurrency, true} | options]
    1..count |> Enum.map(fn _ -> :ets.new(:members, options) end) |> List.to_tuple()
  end

  defp online(n_parts) do
    World.fold_members(@members, [], fn
      number, set, :online, all -> [{World.user(number), set} | all]
      _number, _set, :offline, all -> all
    end)
    |> Enum.reverse()
    |> Enum.group_by(fn {id, _set} -> part(id, n_parts) end)
    |> Map.values()
  end

  defp online_tables(n_tables, order) do
    tables = Tuple.to_list(new_tables(n_tables))

    for {table, rows} <- Enum.zip(tables, online(n_tables)) do
      rows = if order == :shuffled, do: Enum.shuffle(rows), else: rows
      Enum.each(rows, &:ets.insert(table, &1))
    end

    tables
  end

  defp scan(tables, question, expected, run) do
    middle(run, expected, fn ->
      tables
      |> Enum.map(&start_worker(&1, question))
      |> Enum.map(&Measure.finish/1)
    end)
  end

  # The ids stay with the worker, which would go on to send to them.
  defp start_worker(table, question) do
    Measure.start([min_heap_size: @worker_heap_words], fn -> length(ids(table, question, :whole)) end)
  end

  defp middle(run, expected, count_by_worker) do
    Measure.middle(@runs[run], 2, fn ->
      {ns, counts} = Measure.timed(count_by_worker)
      ^expected = Enum.sum(counts)
      ns / 1.0e6
    end)
  end

  defp spawn_keeper(online) do
    :erlang.spawn_opt(fn -> keep(online) end, [:link, min_heap_size: @worker_heap_words])
  end

  defp keep(online) do
    receive do
      {:ask, from, ref} ->
        send(from, {ref, length(kept_ids(online))})
        keep(online)
    end
  end

  defp ask(keeper) do
    ref = make_ref()
    send(keeper, {:ask, self(), ref})
    ref
  end

  defp answer(ref) do
    receive do
      {^ref, count} -> count
    end
  end

  defp kept_ids(online) do
    {rights, overwrites, sets} = :persistent_term.get(@key)
    seeing = Rights.seeing_sets(rights, overwrites, sets)
    found = for {id, set} <- :maps.to_list(online), elem(seeing, set - 1), do: id

    Enum.reduce(Rights.exceptions(rights, overwrites), found, fn user, found ->
      case online do
        %{^user => set} -> except(found, user, set, seeing)
        %{} -> found
      end
    end)
  end
end
