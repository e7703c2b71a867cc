defmodule Peers.Members do
  @moduledoc """
  The member table alone: what a member takes, a read from another process, a write by the owner.

  An expert chooses the layout by what matters, so each row tries the sensible ones and its value is the best:

  - `:fields`: a tuple of id, role ids as a list, nick, joined, flags, status;
  - `:indexes`: the same, the roles as a binary of one index each;
  - `:packed`: id, and all else as one binary, cut by a pattern when it is read;
  - `:compressed`: `:fields` in a table with ETS's own compression.
  """

  alias Peers.{Measure, World}

  @members 1_000_000
  @operations %{full: 500_000, quick: 200_000}
  @runs %{full: 5, quick: 1}
  # Large enough that a run collects garbage rarely, small enough to stay in the cache.
  @reader_heap_words 16_384
  @changed "changed nick"

  def bytes(run) do
    all =
      for layout <- tried([:packed, :indexes, :fields, :compressed], run) do
        Measure.in_process(fn -> {:ets.info(table(layout), :memory) * 8 / @members, layout} end)
      end

    what =
      "ETS bytes a member of 1 M, each with 4 random roles of 250, a nick of 12 bytes, joined, flags and status, " <>
        "as ETS counts them, without what the allocator rounds up; by layout: #{list(all)}; value: the least"

    {best(all), "bytes", what}
  end

  def read(run) do
    all =
      for layout <- tried([:packed, :indexes, :fields], run) do
        Measure.in_process(fn -> {read(table(layout), layout, run), layout} end)
      end

    what =
      "ns a random ets:lookup in 1 M members from another process than the owner (set, read_concurrency), id drawn " <>
        "before, 4 random roles, nick and joined used; by layout: #{list(all)}; value: the best"

    {best(all), "ns", what}
  end

  def write(run) do
    all =
      for way <- tried([:update_element, :insert, :packed], run) do
        layout = if way == :packed, do: :packed, else: :fields
        Measure.in_process(fn -> {write(table(layout), way, run), way} end)
      end

    what =
      "ns an ETS write alone: a new nick for a random one of 1 M members, by the owner (set, protected, " <>
        "read_concurrency); ids drawn and records made before; update_element and insert of tuples, insert of a " <>
        "packed record: #{list(all)}; value: the best"

    {best(all), "ns", what}
  end

  @doc "A table of 1 M members in this layout, owned by the calling process."
  def table(layout) do
    options = if layout == :compressed, do: [:compressed], else: []
    table = :ets.new(:members, [:set, :protected, {:read_concurrency, true} | options])
    load(table, layout, 0, World.random(4))
    @members = :ets.info(table, :size)
    table
  end

  defp load(_table, _layout, @members, _random), do: :ok

  defp load(table, layout, number, random) do
    {roles, random} = World.random_roles(random)
    status = if rem(number, 10) < 3, do: :online, else: :offline
    :ets.insert(table, record(layout, number, roles, World.nick(number), status))
    load(table, layout, number + 1, random)
  end

  defp record(:packed, number, roles, nick, status) do
    roles = :erlang.list_to_binary(roles)
    online = if status == :online, do: 1, else: 0
    joined = World.joined(number)
    rest = <<byte_size(roles)::8, roles::binary, joined::48, 0::8, online::8, nick::binary>>
    {World.user(number), rest}
  end

  defp record(:indexes, number, roles, nick, status) do
    {World.user(number), :erlang.list_to_binary(roles), nick, World.joined(number), 0, status}
  end

  defp record(_fields, number, roles, nick, status) do
    roles = Enum.map(roles, &World.role/1)
    {World.user(number), roles, nick, World.joined(number), 0, status}
  end

  defp read(table, layout, run) do
    count = @operations[run]
    numbers = World.random_numbers(count, @members)
    ids = Enum.map(numbers, &World.user/1)
    joined = Enum.sum(Enum.map(numbers, &World.joined/1))

    Measure.in_process([min_heap_size: @reader_heap_words], fn ->
      Measure.middle(@runs[run], 1, fn ->
        {ns, read} = Measure.timed(fn -> read_all(layout, table, ids, 0, 0, 0) end)
        # Each has four roles and a nick of twelve bytes.
        {16, ^joined} = {div(elem(read, 0) + elem(read, 1), count), elem(read, 2)}
        ns / count
      end)
    end)
  end

  defp read_all(_layout, _table, [], roles, nicks, joined), do: {roles, nicks, joined}

  defp read_all(:fields, table, [id | ids], roles, nicks, joined) do
    [{_, its_roles, nick, its_joined, _, _}] = :ets.lookup(table, id)
    roles = roles + length(its_roles)
    read_all(:fields, table, ids, roles, nicks + byte_size(nick), joined + its_joined)
  end

  defp read_all(:indexes, table, [id | ids], roles, nicks, joined) do
    [{_, its_roles, nick, its_joined, _, _}] = :ets.lookup(table, id)
    roles = roles + byte_size(its_roles)
    read_all(:indexes, table, ids, roles, nicks + byte_size(nick), joined + its_joined)
  end

  defp read_all(:packed, table, [id | ids], roles, nicks, joined) do
    [{_, <<n::8, its_roles::binary-size(n), its_joined::48, _::16, nick::binary>>}] = :ets.lookup(table, id)

    roles = roles + byte_size(its_roles)
    read_all(:packed, table, ids, roles, nicks + byte_size(nick), joined + its_joined)
  end

  defp write(table, way, run) do
    count = @operations[run]
    numbers = World.random_numbers(count, @members)
    records = Enum.map(numbers, &changed(way, &1))

    written =
      Measure.middle(@runs[run], 1, fn ->
        {ns, :ok} = Measure.timed(fn -> write_all(way, table, records) end)
        ns / count
      end)

    # Each write is a change: what the last one wrote is what is read.
    last = List.last(records)
    [now] = :ets.lookup(table, elem(last, 0))
    true = now == last or (way == :update_element and elem(now, 2) == @changed)
    written
  end

  defp changed(:update_element, number), do: {World.user(number), @changed}
  defp changed(:insert, number), do: record(:fields, number, [1, 2, 3, 4], @changed, :online)
  defp changed(:packed, number), do: record(:packed, number, [1, 2, 3, 4], @changed, :online)

  defp write_all(_way, _table, []), do: :ok

  defp write_all(:update_element, table, [{id, nick} | records]) do
    true = :ets.update_element(table, id, {3, nick})
    write_all(:update_element, table, records)
  end

  defp write_all(way, table, [record | records]) do
    true = :ets.insert(table, record)
    write_all(way, table, records)
  end

  # A quick run tries the one that was best in full ones.
  defp tried(all, :full), do: all
  defp tried([first | _], :quick), do: [first]

  defp best(all), do: all |> Enum.min() |> elem(0)

  defp list(all), do: Enum.map_join(all, ", ", fn {value, name} -> "#{name} #{Measure.show(value)}" end)
end
