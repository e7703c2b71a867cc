defmodule Peers.World do
  @moduledoc """
  The guild that is measured on, of the same shape as that of our own rows (`benches/src`): 250 roles, 40,000 role sets
  of four of which a few are most members', 100 channels of which every second is hidden from everyone and shown to four
  roles and two users, three in ten members online.

  Everything follows from a seed. Roles go by their index in the guild: a role's id is needed where clients are told of
  it only.
  """

  import Bitwise

  @roles 250
  @role_sets 40_000
  @now 1_700_000_000_000
  @view 1 <<< 10
  @send 1 <<< 11

  def view_channel, do: @view

  @doc "The `number`th member, 0 for the owner: snowflakes, ascending with uneven gaps."
  def user(number), do: (1 <<< 40) + number * 1_000 + :erlang.phash2(number, 1_000)

  def role(index), do: (1 <<< 30) + index

  @doc "A nick of twelve bytes."
  def nick(number), do: "nick" <> Integer.to_string(10_000_000 + number)

  @doc "When the `number`th member joined."
  def joined(number), do: @now - number

  def rights do
    permissions = for index <- 0..(@roles - 1), into: %{}, do: {index, 0}
    %{owner: user(0), everyone: @view ||| @send, roles: permissions}
  end

  @doc "The overwrites of the `number`th channel: what is allowed and denied there, by target."
  def overwrites(number) when rem(number, 2) == 0, do: %{}

  def overwrites(number) do
    roles = for at <- 0..3, do: {{:role, rem(number + at * 7, @roles)}, {@view, 0}}
    users = for at <- 0..1, do: {{:user, user(number * 10 + at)}, {@view, 0}}
    Map.new([{:everyone, {0, @view}} | roles ++ users])
  end

  @doc "The distinct role sets, each as an ascending list of role indexes."
  def role_sets do
    {sets, _random} = Enum.map_reduce(1..@role_sets, random(3), fn _, random -> role_set(random, []) end)

    sets
  end

  @doc """
  Folds `fun.(number, set, status, acc)` over the members, with `set` one of the role sets, counted from 1.

  Most members share few sets: the number of a set is the cube of a uniform one.
  """
  def fold_members(count, acc, fun), do: fold_members(0, count, random(1), acc, fun)

  defp fold_members(count, count, _random, acc, _fun), do: acc

  defp fold_members(number, count, random, acc, fun) do
    {set, random} = unit(random)
    {online, random} = unit(random)
    status = if online < 0.3, do: :online, else: :offline
    acc = fun.(number, 1 + trunc(@role_sets * set * set * set), status, acc)
    fold_members(number + 1, count, random, acc, fun)
  end

  @doc "Four random roles of 250 for a member on its own, whatever others have; and the random state to go on with."
  def random_roles(random) do
    random = :rand.mwc59(random)
    <<a, b, c, d>> = <<:rand.mwc59_value32(random)::32>>
    roles = [(a * @roles) >>> 8, (b * @roles) >>> 8, (c * @roles) >>> 8, (d * @roles) >>> 8]
    if distinct?(roles), do: {roles, random}, else: random_roles(random)
  end

  defp distinct?([a, b, c, d]) do
    a != b and a != c and a != d and b != c and b != d and c != d
  end

  def random(seed), do: :rand.mwc59_seed(seed)

  @doc "So many random numbers of members below `members`."
  def random_numbers(count, members) do
    {numbers, _random} =
      Enum.map_reduce(1..count, random(2), fn _, random ->
        {unit, random} = unit(random)
        {trunc(unit * members), random}
      end)

    numbers
  end

  defp role_set(random, roles) when length(roles) == 4, do: {Enum.sort(roles), random}

  defp role_set(random, roles) do
    {unit, random} = unit(random)
    # The square of a uniform number leans to the low ranks.
    role = trunc(@roles * unit * unit)
    role_set(random, if(role in roles, do: roles, else: [role | roles]))
  end

  defp unit(random), do: {:rand.mwc59_value32(random) / 0x1_0000_0000, :rand.mwc59(random)}
end
