defmodule Peers.Rights do
  @moduledoc """
  The documented permission rule, twice: plainly for one member, and cut for a scan that asks of many members whether
  they see one channel.

  The base is everyone's permissions and those of all roles; who has administrator among them, or owns the guild, may
  do everything. In the channel the overwrite for everyone counts first (its deny, then its allow), then those of all
  roles together (deny, then allow), then the user's own.
  """

  import Bitwise

  alias Peers.World

  @administrator 1 <<< 3
  @all (1 <<< 50) - 1

  @doc "What `user` with these roles may do in a channel with these overwrites."
  def permissions(rights, overwrites, user, roles) do
    base = Enum.reduce(roles, rights.everyone, &(&2 ||| Map.fetch!(rights.roles, &1)))

    if user == rights.owner or (base &&& @administrator) != 0 do
      @all
    else
      of_roles = Enum.map(roles, &Map.get(overwrites, {:role, &1}, {0, 0}))
      allow = Enum.reduce(of_roles, 0, fn {allow, _}, all -> all ||| allow end)
      deny = Enum.reduce(of_roles, 0, fn {_, deny}, all -> all ||| deny end)

      base
      |> overwrite(Map.get(overwrites, :everyone, {0, 0}))
      |> overwrite({allow, deny})
      |> overwrite(Map.get(overwrites, {:user, user}, {0, 0}))
    end
  end

  def sees?(rights, overwrites, user, roles) do
    (permissions(rights, overwrites, user, roles) &&& World.view_channel()) != 0
  end

  @doc "The users for whom roles do not tell: those with an overwrite of their own, and the owner."
  def exceptions(rights, overwrites) do
    [rights.owner | for({{:user, user}, _} <- overwrites, do: user)]
  end

  @doc """
  Which of these role sets see the channel, as a tuple of booleans.

  A role's part in the answer is four bits: what it gives of administrator and view, and what its overwrite allows and
  denies of view. The bits of a set are those of its roles together, and there are but sixteen answers.
  """
  def seeing_sets(rights, overwrites, sets) do
    parts = rights.roles |> Enum.sort() |> Enum.map(&part(&1, overwrites)) |> List.to_tuple()
    answers = 0..15 |> Enum.map(&answer(&1, rights, overwrites)) |> List.to_tuple()
    sets |> decide(parts, answers) |> List.to_tuple()
  end

  defp decide([roles | sets], parts, answers) do
    [elem(answers, union(roles, parts, 0)) | decide(sets, parts, answers)]
  end

  defp decide([], _parts, _answers), do: []

  defp union([role | roles], parts, bits), do: union(roles, parts, bits ||| elem(parts, role))
  defp union([], _parts, bits), do: bits

  defp part({role, permissions}, overwrites) do
    {allow, deny} = Map.get(overwrites, {:role, role}, {0, 0})
    view = World.view_channel()

    bit(permissions, @administrator, 1) ||| bit(permissions, view, 2) ||| bit(allow, view, 4) |||
      bit(deny, view, 8)
  end

  defp answer(bits, rights, overwrites) do
    view = World.view_channel()
    base = rights.everyone ||| bit(bits, 1, @administrator) ||| bit(bits, 2, view)

    after_roles =
      base
      |> overwrite(Map.get(overwrites, :everyone, {0, 0}))
      |> overwrite({bit(bits, 4, view), bit(bits, 8, view)})

    (base &&& @administrator) != 0 or (after_roles &&& view) != 0
  end

  defp bit(bits, asked, answer), do: if((bits &&& asked) != 0, do: answer, else: 0)

  defp overwrite(permissions, {allow, deny}), do: (permissions &&& bnot(deny)) ||| allow
end
