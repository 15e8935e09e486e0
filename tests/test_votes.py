"""Human studies: counts by hand, tests against other tools, clusters that are planted and found, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
from decimal import ROUND_HALF_DOWN, ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.proportion import proportion_confint

from avbench.cli.study import study
from avbench.errors import UsageError
from avbench.report import FORMATS
from avbench.stats import binomial, holm
from avbench.table.human import Totals, human, human_of_totals
from avbench.votes import (
    CORRELATIONS,
    Counts,
    Preference,
    Rating,
    Vote,
    fitting_counts,
    fitting_shares,
    load_ratings,
    load_votes,
    opinions,
    oriented,
    sensitivity,
    t_of_d,
    tally,
)

from .paper import compiled, needs_latex
from .scored import make_split

PUBLISHED = {  # printed rates of arXiv 2603.10256, Figure 3, and every (votes, wins, losses, ties) of 270 to 315 that fits
    (80.7, 17.5, 82.1): [(285, 230, 50, 5)],
    (68.7, 5.6, 92.4): [(284, 195, 16, 73)],
    (55.5, 39.9, 58.1): [(283, 157, 113, 13)],
    (73.1, 20.0, 78.5): [(275, 201, 55, 19), (290, 212, 58, 20), (305, 223, 61, 21)],
    (54.8, 20.7, 72.6): [(290, 159, 60, 71), (299, 164, 62, 73), (305, 167, 63, 75), (314, 172, 65, 77)],
    (65.2, 30.7, 68.0): [
        (270, 176, 83, 11),
        (287, 187, 88, 12),
        (290, 189, 89, 12),
        (293, 191, 90, 12),
        (296, 193, 91, 12),
        (313, 204, 96, 13),
    ],
}
P_VALUES = {  # of the counts nearest to the printed 285 to 290 votes
    (230, 50, 5): 9.3e-29,
    (195, 16, 73): 2.7e-40,
    (157, 113, 13): 0.00875,
    (212, 58, 20): 8.6e-22,
    (159, 60, 71): 1.6e-11,
    (187, 88, 12): 2.3e-9,
    (189, 89, 12): 2.0e-9,
}

VOTES = """\
rater,pair,speaker,question,ours,other,vote,seconds
ann,p1,s1,voice,new,old,ours,3
ann,p2,s1,voice,new,old,ours,4
ann,p3,s2,voice,new,old,tie,5
bob,p1,s1,voice,new,old,ours,6
bob,p2,s1,voice,new,old,other,7
bob,p3,s2,voice,new,old,ours,8
ann,p1,s1,sounds,new,old,tie,9
"""
RATINGS = """\
rater,pair,speaker,scenario,method,rating
ann,p1,s1,clap,new,5
bob,p1,s1,clap,new,4
ann,p2,s2,clap,new,3
ann,p3,s3,drum,new,2
ann,p1,s1,clap,old,3
bob,p1,s1,clap,old,2
ann,p2,s2,clap,old,1
ann,p4,s3,drum,old,1
"""


def written(place: Path, text: str, name: str = "votes.csv") -> Path:
    path = place / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path, load: Any = load_votes, **more: Any) -> str:
    with pytest.raises(UsageError) as caught:
        load(path, **more)
    return str(caught.value)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(study, [str(one) for one in arguments])


def simulated(
    seed: int,
    *,
    mean: float = 0.0,
    pair: float = 0.0,
    rater: float = 0.0,
    speaker: float = 0.0,
    pairs: int = 16,
    centred: bool = False,
) -> list[Vote]:
    """Votes of 9 raters on pairs of 8 speakers: liking is normal, with a deviation for each kind of cluster."""
    rng = np.random.default_rng(seed)
    of_pair, of_rater = rng.normal(0, pair, pairs), rng.normal(0, rater, 9)
    of_speaker = rng.normal(0, speaker, 8)
    if centred:
        of_pair, of_rater, of_speaker = (of - of.mean() for of in (of_pair, of_rater, of_speaker))
    liking = mean + of_pair[:, None] + of_rater + of_speaker[np.arange(pairs) % 8][:, None]
    liking = liking + rng.normal(0, 1, liking.shape)
    return [
        Vote(f"r{r}", f"p{p}", f"s{p % 8}", "voice", "new", "old", "ours" if liking[p, r] > 0 else "other")
        for p, r in itertools.product(range(pairs), range(9))
    ]


# Published totals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("printed", PUBLISHED, ids=str)
def test_all_counts_that_fit_a_published_row_are_found(printed: tuple[float, float, float]) -> None:
    assert [(one.votes, *one) for one in fitting_counts(*printed)] == PUBLISHED[printed]


@pytest.mark.parametrize(("counts", "p"), P_VALUES.items(), ids=str)
def test_published_p_is_that_of_an_independent_tool(counts: tuple[int, int, int], p: float) -> None:
    wins, losses, ties = counts
    found = sensitivity(wins, losses, ties, 9.0).rows[0]
    assert found.correlation == 0.0
    assert found.p == pytest.approx(scipy.stats.binomtest(wins, wins + losses).pvalue, rel=1e-12)
    assert found.p == pytest.approx(p, rel=0.06)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 2))
def test_whatever_is_printed_is_found_however_it_was_rounded(wins: int, losses: int, ties: int, digits: int) -> None:
    votes = max(1, wins + losses + ties)
    counts = Counts(wins, losses, votes - wins - losses)
    for rounding in (ROUND_HALF_UP, ROUND_HALF_DOWN):

        def printed(count: int, of: int, way: str = rounding) -> float:
            return float((Decimal(100 * count) / of).quantize(Decimal(1).scaleb(-digits), rounding=way))

        rate = printed(wins, wins + losses) if wins + losses else None
        found = fitting_counts(
            printed(wins, votes), printed(losses, votes), rate, low=votes, high=votes + 1, digits=digits
        )
        assert counts in found
    unit = 10.0**-digits
    for one in found:
        assert min(one) >= 0
        assert abs(100 * one.wins / one.votes - printed(wins, votes)) <= unit / 2 + 1e-9
        assert abs(100 * one.losses / one.votes - printed(losses, votes)) <= unit / 2 + 1e-9


def test_a_number_halfway_between_two_printed_ones_fits_both() -> None:
    assert fitting_shares(12.5, 8) == fitting_shares(12, 8, digits=0) == fitting_shares(13, 8, digits=0) == [1]
    assert fitting_shares(11, 8, digits=0) == fitting_shares(14, 8, digits=0) == []


def test_printed_numbers_that_contradict_each_other_fit_nothing() -> None:
    assert fitting_counts(80.7, 17.5, 58.1) == []
    assert fitting_counts(69, 26, digits=0, low=283, high=286) != []
    assert fitting_counts(69, 26, 92, digits=0, low=283, high=286) == []
    assert fitting_counts(0.0, 0.0, 50.0) == []  # no decided vote has no win rate
    assert fitting_counts(0.0, 0.0, low=3, high=3) == [(0, 0, 3)]


def test_shares_of_bad_ratings_are_whole_numbers() -> None:
    assert fitting_shares(15.3, 450) == [69]
    assert fitting_shares(23.3, 450) == [105]


def test_speech_manners_lose_their_p_where_votes_on_a_pair_correlate() -> None:
    found = sensitivity(157, 113, 13, 283 / 35)
    ps = {one.correlation: one.p for one in found.rows}
    assert tuple(ps) == CORRELATIONS
    assert [round(ps[rho], 3) for rho in (0.0, 0.1, 0.2)] == [0.009, 0.045, 0.092]
    assert found.tipping is not None
    assert sensitivity(157, 113, 13, 283 / 35, [found.tipping]).rows[0].p == pytest.approx(0.05, rel=1e-9)
    assert 0.1 < found.tipping < 0.15


def test_the_design_effect_divides_the_votes() -> None:
    row = sensitivity(60, 30, 10, 9.0, [0.25]).rows[0]
    assert row.design_effect == 3.0
    assert row.effective == pytest.approx(100 / 3)
    z = scipy.stats.norm.isf(scipy.stats.binomtest(60, 90).pvalue / 2)
    assert row.p == pytest.approx(2 * scipy.stats.norm.sf(z / math.sqrt(3)), rel=1e-12)


@given(st.integers(0, 400), st.integers(0, 400), st.integers(0, 400), st.floats(1, 20))
def test_more_correlation_never_lowers_a_p(wins: int, losses: int, ties: int, votes_per_pair: float) -> None:
    found = sensitivity(wins, losses, ties, votes_per_pair, [0.0, 0.01, 0.3, 0.7, 1.0])
    ps = [one.p for one in found.rows]
    assert ps == sorted(ps)
    assert all(0 <= p <= 1 for p in ps)
    assert found == sensitivity(losses, wins, ties, votes_per_pair, [0.0, 0.01, 0.3, 0.7, 1.0])
    if found.tipping is None:
        assert ps[-1] <= 0.05 + 1e-12
    else:
        assert 0 <= found.tipping <= 1
        assert ps[-1] >= 0.05 - 1e-12
        assert (found.tipping == 0) == (ps[0] >= 0.05 - 1e-12)


def test_what_correlation_cannot_spoil_has_no_tipping_point() -> None:
    assert sensitivity(230, 50, 5, 285 / 35).tipping is None  # voice similarity, against the same baseline
    assert sensitivity(5, 4, 0, 9.0).tipping == 0.0
    assert sensitivity(30, 5, 0, 1.0).tipping is None  # one vote a pair: nothing to correlate


def test_t_of_a_published_effect_is_that_of_an_independent_tool() -> None:
    found = t_of_d(0.115, 450, 450)
    other = scipy.stats.ttest_ind_from_stats(0.115, 1.0, 450, 0.0, 1.0, 450)
    assert found.t == pytest.approx(1.725)
    assert found.degrees == 898
    assert found.p == pytest.approx(other.pvalue, rel=1e-12)
    assert round(found.p, 3) == 0.085
    assert t_of_d(-0.115, 450, 450).p == found.p
    assert t_of_d(0.0, 2, 1) == (0.0, 1, 1.0)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fitting_counts(55.53, 39.9), "55.53 % has more than 1 digits"),
        (lambda: fitting_counts(101.0, 39.9), "101.0 %; expected 0 to 100"),
        (lambda: fitting_counts(math.nan, 39.9), "nan %; expected 0 to 100"),
        (lambda: fitting_counts(55.5, 39.9, low=0), "0 to 315 votes; expected a range"),
        (lambda: fitting_counts(55.5, 39.9, low=20, high=10), "20 to 10 votes"),
        (lambda: fitting_counts(55.5, 39.9, high=10_001), "270 to 10001 votes; expected a range within 1 to 10,000"),
        (lambda: fitting_counts(55.5, 39.9, digits=12), "12 digits; expected 0 to 9"),
        (lambda: fitting_shares(10.0, 0), "a share of 0"),
        (lambda: sensitivity(-1, 2, 3, 9.0), "-1 wins"),
        (lambda: sensitivity(1, 2, 3, 0.5), "0.5 votes a pair; expected 1 or more"),
        (lambda: sensitivity(1, 2, 3, math.inf), "inf votes a pair"),
        (lambda: sensitivity(1, 2, 3, 9.0, [1.5]), "a correlation of 1.5"),
        (lambda: t_of_d(0.1, 1, 1), "samples of 1 and 1"),
        (lambda: t_of_d(math.inf, 9, 9), "a Cohen's d of inf"),
    ],
)
def test_what_cannot_be_computed_is_refused(call: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        call()


# Votes -------------------------------------------------------------------------------------------------------------


def test_a_hand_counted_file(tmp_path: Path) -> None:
    voice, sounds = tally(load_votes(written(tmp_path, VOTES)))
    assert (voice.ours, voice.other, voice.question) == ("new", "old", "voice")
    assert voice.counts == (4, 1, 1)
    assert voice.counts.win_rate == 0.8
    assert (voice.pairs, voice.raters, voice.speakers) == (3, 2, 2)
    assert voice.p == pytest.approx(2 * (5 + 1) / 32)  # 4 or 5 of 5, on both sides
    pair, rater, speaker = voice.clustered
    assert [(one.unit, one.clusters) for one in voice.clustered] == [("pair", 3), ("rater", 2), ("speaker", 2)]
    assert pair.score.value == pytest.approx((1 + 0 + 0.5) / 3)
    assert rater.score.value == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert speaker.score.value == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert pair.score.p == pytest.approx(scipy.stats.ttest_1samp([1, 0, 0.5], 0).pvalue, rel=1e-12)
    assert (pair.flip.p, pair.flip.attainable, pair.flip.exact) == (4 / 8, 2 / 8, True)  # ±1 ±0.5: only signs agree
    assert (rater.flip.p, rater.flip.attainable) == (0.5, 0.5)
    assert (sounds.counts, sounds.counts.win_rate, sounds.wilson, sounds.interval) == ((0, 0, 1), None, None, None)
    assert (sounds.p, sounds.clustered, sounds.crossed, sounds.clustered_p) == (1.0, (), None, None)
    assert (voice.adjusted, sounds.adjusted) == (2 * voice.p, 1.0)


def test_intervals_of_votes_are_those_of_an_independent_tool(tmp_path: Path) -> None:
    voice, _ = tally(load_votes(written(tmp_path, VOTES)))
    assert voice.wilson == pytest.approx(proportion_confint(4, 5, method="wilson"), rel=1e-9)
    assert voice.clopper_pearson == pytest.approx(proportion_confint(4, 5, method="beta"), rel=1e-9)


@pytest.mark.parametrize("known", [True, False], ids=["speakers known", "pairs only"])
def test_two_way_clusters_are_those_of_an_independent_tool(known: bool) -> None:
    votes = [
        vote._replace(vote="tie") if at % 7 == 0 else vote
        for at, vote in enumerate(simulated(1, mean=0.3, pair=0.7, rater=0.3, speaker=0.5))
    ]
    if not known:
        votes = [vote._replace(speaker="") for vote in votes]
    (row,) = tally(votes)
    assert row.crossed is not None
    unit = "speaker" if known else "pair"
    assert row.crossed.units == (unit, "rater")
    for decided, found in ((False, row.crossed.score), (True, row.crossed.win_rate)):
        asked = [vote for vote in votes if vote.vote != "tie" or not decided]
        scores = np.array([{"ours": 1.0, "tie": 0.0, "other": -1.0}[vote.vote] for vote in asked])
        groups = np.array([[int(getattr(vote, name).lstrip("psr")) for name in (unit, "rater")] for vote in asked])
        fit = OLS(scores, np.ones_like(scores)).fit(cov_type="cluster", cov_kwds={"groups": groups})
        degrees = min(len(set(of)) for of in groups.T) - 1
        ends = scipy.stats.t.interval(0.95, degrees, fit.params[0], fit.bse[0])
        assert found is not None
        if decided:
            assert found == pytest.approx([(1 + end) / 2 for end in ends], rel=1e-9)
            assert row.interval == found
        else:
            assert (found.lower, found.upper) == pytest.approx(ends, rel=1e-9)
            assert row.crossed.score.value == pytest.approx((row.counts.wins - row.counts.losses) / len(votes))
            assert row.crossed.score.degrees == degrees
            t = abs(fit.params[0]) / fit.bse[0]
            assert row.crossed.score.p == pytest.approx(2 * scipy.stats.t.sf(t, degrees), rel=1e-9)


def test_where_speakers_and_raters_differ_only_crossed_clusters_are_right() -> None:
    trials = 150
    wrong = {"votes": 0, "pair": 0, "rater": 0, "crossed": 0}
    for seed in range(trials):
        (row,) = tally(simulated(seed, speaker=0.6, pair=0.3, rater=0.6, pairs=16))
        assert row.crossed is not None
        ps = {one.unit: one.score.p for one in row.clustered}
        for name, p in (
            ("votes", row.p),
            ("crossed", row.crossed.score.p),
            ("pair", ps["pair"]),
            ("rater", ps["rater"]),
        ):
            wrong[name] += p <= 0.05
    assert min(wrong["votes"], wrong["pair"], wrong["rater"]) > 0.1 * trials
    assert wrong["crossed"] <= trials * (0.05 + 3 * math.sqrt(0.05 * 0.95 / trials))


def test_without_several_raters_the_clusters_that_there_are_count() -> None:
    votes = [vote for vote in simulated(2, mean=0.5) if vote.rater == "r1"]
    (row,) = tally(votes)
    assert row.crossed is None
    assert [one.unit for one in row.clustered] == ["pair", "speaker"]
    assert row.clustered_p == max(one.score.p for one in row.clustered)
    ends = [one.win_rate for one in row.clustered if one.win_rate is not None]
    assert row.interval == (min(one.lower for one in ends), max(one.upper for one in ends))
    table = human(tally(votes))
    assert "of pairs and speakers, the largest; claims go by it" in table.caption


def test_no_interval_of_a_win_rate_leaves_0_to_1() -> None:
    votes = [vote._replace(vote="ours" if vote.rater != "r1" else vote.vote) for vote in simulated(2)]
    (row,) = tally([vote for vote in votes if vote.pair in ("p1", "p2")])
    assert row.crossed is not None
    assert row.crossed.win_rate is not None
    assert 0 < row.crossed.win_rate.lower < 1
    assert row.crossed.win_rate.upper == 1.0
    (row,) = tally([vote for vote in votes if vote.pair in ("p1", "p2")], "old")
    assert row.crossed is not None
    assert row.crossed.win_rate is not None
    assert row.crossed.win_rate.lower == 0.0


def test_votes_that_all_agree_are_worth_what_so_many_clusters_can_say_and_ties_nothing() -> None:
    votes = [vote._replace(vote="ours") for vote in simulated(2)]
    (row,) = tally(votes)
    assert row.crossed is not None
    assert (row.crossed.score, row.interval) == ((1.0, None, None, 2 / 2**8, 7, "sign-flip"), None)  # of 8 speakers
    for one in row.clustered:
        assert (one.score.lower, one.score.upper, one.win_rate) == (None, None, None)
        assert (one.score.p, one.score.test) == (2 / 2**one.clusters, "sign-flip")
    (row,) = tally([vote._replace(vote="tie") for vote in votes])
    assert row.crossed is not None
    assert (row.crossed.score.p, row.crossed.win_rate, row.interval) == (1.0, None, None)


@pytest.mark.parametrize("given", [("ours",) * 4, ("ours", "tie", "tie", "ours")], ids=["unanimous", "balanced"])
@pytest.mark.parametrize("speaker", ["one", "two", ""], ids=["one speaker", "two speakers", "speakers unknown"])
def test_a_pilot_without_an_error_to_judge_by_proves_nothing(given: tuple[Any, ...], speaker: str) -> None:
    places = itertools.product(("p1", "p2"), ("ann", "bob"))
    of = {"one": "s", "two": "s" + "{}", "": ""}[speaker]
    votes = [Vote(r, p, of.format(p), "voice", "new", "old", vote) for (p, r), vote in zip(places, given, strict=True)]
    (row,) = tally(votes)
    assert row.crossed is not None
    assert (row.crossed.score.p, row.clustered_p, row.crossed.score.test) == (0.5, 0.5, "sign-flip")
    assert (row.crossed.score.lower, row.crossed.score.upper, row.crossed.win_rate, row.interval) == (None,) * 4
    assert {one.score.p for one in row.clustered} == {0.5}
    assert {one.win_rate for one in row.clustered} == {None}
    table = human([row])
    cells = [cell.text for cell in table.blocks[0].rows[0].cells]
    assert (cells[4:6], cells[8]) == (["–", "–"], "0.500")
    assert "no error to judge by" in table.caption


def test_where_clusters_are_alike_the_largest_sign_flip_p_counts() -> None:
    votes = [Vote(f"r{at % 3}", f"p{at // 3}", "", "voice", "new", "old", "ours") for at in range(15)]
    (row,) = tally(votes)
    assert [one.score.p for one in row.clustered] == [2 / 2**5, 2 / 2**3]
    assert row.clustered_p == 2 / 2**3


def test_decided_votes_that_all_agree_have_no_interval_where_ties_differ() -> None:
    votes = [
        Vote(f"r{r}", f"p{p}", "", "voice", "new", "old", "tie" if r == p == 0 else "ours")
        for r in range(3)
        for p in range(3)
    ]
    (row,) = tally(votes)
    assert row.crossed is not None
    assert (row.crossed.score.test, row.crossed.win_rate, row.interval) == ("t", None, None)
    assert "no interval" in human([row]).caption


@pytest.mark.parametrize("unit", ["pair", "rater", "speaker"])
def test_planted_clusters_widen_the_interval_of_their_kind_and_raise_its_p(unit: str) -> None:
    planted: dict[str, Any] = {unit: 1.2}
    (row,) = tally(simulated(5, mean=0.8, centred=True, **planted))
    assert row.wilson is not None
    wide = {one.unit: one.win_rate.upper - one.win_rate.lower for one in row.clustered if one.win_rate is not None}
    ps = {one.unit: one.score.p for one in row.clustered}
    assert wide[unit] > 1.5 * (row.wilson.upper - row.wilson.lower)
    assert ps[unit] > 10 * row.p
    if unit != "speaker":  # whose pairs carry it, too
        assert wide[unit] == max(wide.values())
        assert ps[unit] == max(ps.values())


def test_without_clusters_all_intervals_are_about_as_wide() -> None:
    (row,) = tally(simulated(5, mean=0.2, pairs=40))
    assert row.wilson is not None
    for one in row.clustered:
        assert one.win_rate is not None
        assert one.win_rate.upper - one.win_rate.lower < 1.35 * (row.wilson.upper - row.wilson.lower)


def test_under_no_effect_votes_as_independent_are_often_wrong_and_means_of_pairs_are_not() -> None:
    trials = 150
    wrong = {"votes": 0, "pair": 0}
    for seed in range(trials):
        (row,) = tally(simulated(seed, pair=1.0, pairs=12))
        wrong["votes"] += row.p <= 0.05
        wrong["pair"] += next(one.score.p for one in row.clustered if one.unit == "pair") <= 0.05
    assert wrong["votes"] > 0.25 * trials
    assert wrong["pair"] <= trials * (0.05 + 3 * math.sqrt(0.05 * 0.95 / trials))


def test_holm_is_over_all_rows_of_one_kind_of_test() -> None:
    several = [
        vote._replace(question=f"q{seed}") for seed in range(4) for vote in simulated(seed, mean=0.15 * seed, pair=0.4)
    ]
    rows = tally(several)
    assert [row.adjusted for row in rows] == holm([row.p for row in rows])
    for at in range(3):
        assert [row.clustered[at].adjusted for row in rows] == holm([row.clustered[at].score.p for row in rows])
        assert [row.clustered[at].flip_adjusted for row in rows] == holm([row.clustered[at].flip.p for row in rows])
    assert any(row.adjusted != row.p for row in rows)
    (block,) = human(rows).blocks
    assert [row.cells[7].value for row in block.rows] == [row.adjusted for row in rows]
    assert [row.cells[8].value for row in block.rows] == [row.clustered_p for row in rows]
    crossed = [row.crossed for row in rows if row.crossed is not None]
    assert (
        [one.adjusted for one in crossed] == holm([one.score.p for one in crossed]) == [one.clustered_p for one in rows]
    )


@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_number(random: Any) -> None:
    votes = simulated(3, mean=0.2, pair=0.5, pairs=5)
    shuffled = list(votes)
    random.shuffle(shuffled)
    assert tally(shuffled) == tally(votes)


def test_the_other_side_of_a_comparison_is_its_mirror() -> None:
    votes = simulated(7, mean=0.3, pair=0.5)
    votes = [vote._replace(vote="tie") if at % 7 == 0 else vote for at, vote in enumerate(votes)]
    (row,), (mirrored,) = tally(votes), tally(votes, "old")
    assert (mirrored.ours, mirrored.other) == ("old", "new")
    assert mirrored.counts == (row.counts.losses, row.counts.wins, row.counts.ties)
    assert mirrored.p == row.p
    for one, other in zip(row.clustered, mirrored.clustered, strict=True):
        assert other.score.value == pytest.approx(-one.score.value)
        assert other.score.p == pytest.approx(one.score.p)
        assert other.flip == one.flip
        assert one.win_rate is not None
        assert other.win_rate == pytest.approx((1 - one.win_rate.upper, 1 - one.win_rate.lower))
    assert row.crossed is not None
    assert mirrored.crossed is not None
    assert mirrored.crossed.score.p == row.crossed.score.p
    assert row.crossed.score.upper is not None
    assert mirrored.crossed.score.lower == -row.crossed.score.upper


def test_a_comparison_written_from_both_sides_is_turned_and_what_is_not_asked_for_left_out(tmp_path: Path) -> None:
    text = VOTES + "cid,p1,s1,voice,old,new,ours,1\ncid,p2,s1,voice,old,third,ours,1\n"
    votes = load_votes(written(tmp_path, text))
    with pytest.raises(UsageError, match=r"the column ours names new, old; expected one method. Say which: --ours new"):
        oriented(votes)
    with pytest.raises(UsageError, match=r"unknown method 'newer'\. Did you mean new"):
        oriented(votes, "newer")
    kept = oriented(votes, "new")
    assert len(kept) == len(votes) - 1
    assert (kept[-1].ours, kept[-1].other, kept[-1].vote) == ("new", "old", "other")


def test_rows_are_in_order_of_appearance_with_each_other_method_together() -> None:
    votes = [
        Vote("ann", "p1", "s1", question, "new", other, "ours")
        for other, question in [("b", "voice"), ("a", "voice"), ("b", "sounds"), ("a", "sounds")]
    ]
    assert [(row.other, row.question) for row in tally(votes)] == [
        ("b", "voice"), ("b", "sounds"), ("a", "voice"), ("a", "sounds"),
    ]  # fmt: skip


# Votes files -------------------------------------------------------------------------------------------------------


def test_json_lines_are_read_like_csv(tmp_path: Path) -> None:
    heading, *rows = VOTES.splitlines()
    lines = [json.dumps(dict(zip(heading.split(","), row.split(","), strict=True))) for row in rows]
    read = load_votes(written(tmp_path, "\n\n".join(lines), "votes.jsonl"))
    assert read == load_votes(written(tmp_path, VOTES))
    assert len(read) == 7


def test_whole_numbers_are_names_too(tmp_path: Path) -> None:
    row = {"rater": 3, "pair": "p1", "speaker": 7, "question": "voice", "ours": "a", "other": "b", "vote": "tie"}
    (vote,) = load_votes(written(tmp_path, json.dumps(row), "votes.jsonl"))
    assert (vote.rater, vote.speaker) == ("3", "7")


def test_what_a_spreadsheet_adds_is_passed_over(tmp_path: Path) -> None:
    text = "\ufeff" + VOTES.replace("\n", "\r\n").replace("ann,p1,s1,voice", ' ann ,"p1",s1,voice') + ",,,,,,,\r\n"
    assert load_votes(written(tmp_path, text)) == load_votes(written(tmp_path, VOTES, "plain.csv"))


def test_a_split_tells_the_speakers(tmp_path: Path) -> None:
    text = "\n".join(",".join(row.split(",")[:2] + row.split(",")[3:]) for row in VOTES.splitlines())
    path = written(tmp_path, text)
    assert refused(path).endswith("line 2: no speaker; expected rater, pair, speaker, question, ours, other, vote. "
                                  "The option --split tells the speakers.")  # fmt: skip
    speakers = {"p1": "s1", "p2": "s1", "p3": "s2"}
    assert [one.speaker for one in load_votes(path, speakers)] == [
        one.speaker for one in load_votes(written(tmp_path, VOTES, "with.csv"))
    ]
    assert refused(path, speakers={"p1": "s1", "p2": "s1"}).endswith(
        "line 4: pair 'p3', which the split does not have. Is it another split's file?"
    )
    with_column = tmp_path / "with.csv"
    assert load_votes(with_column, speakers) == load_votes(with_column)
    assert refused(with_column, speakers={**speakers, "p3": "s9"}).endswith(
        "line 4: pair 'p3' has speaker 's2', but 's9' in the split; expected one."
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": no rows; expected rater, pair, speaker, question, ours, other, vote in each."),
        ("rater,pair\n", ": no rows; expected rater, pair, speaker, question, ours, other, vote in each."),
        (VOTES.replace("vote,seconds", "voted,seconds"), "line 2: no vote; expected rater, pair"),
        (VOTES.replace("tie,5", "equal,5"), "line 4: vote 'equal'; expected one of ours, tie, other."),
        (VOTES.replace("tie,5", "Tie,5"), "line 4: vote 'Tie'"),
        (VOTES.replace("tie,5", ",5"), "line 4: vote is empty; expected a value in every row."),
        (VOTES.replace("bob,p2,s1", "bob,p2,s2"), "line 6: pair 'p2' has speaker 's2', but 's1' in line 3"),
        (
            VOTES.replace("bob,p2", "bob,p1"),
            "line 6: rater 'bob' votes on pair 'p1', question 'voice' for the second time, after line 5; expected once.",
        ),
        (VOTES + "ann,p1,s1,voice,old,new,tie,1\n", "for the second time, after line 2"),
        (VOTES.replace("new,old,tie,5", "new,new,tie,5"), "line 4: 'new' against itself; expected two methods"),
        (VOTES.replace("tie,5", "tie"), "line 4: 7 fields; expected 8 as in the heading."),
        (VOTES.replace("vote,seconds", "vote,vote"), "line 1: 8 columns, more than one named 'vote'."),
        (VOTES.replace("tie,5", '"tie,5'), "not CSV: unexpected end of data."),
    ],
)
def test_a_damaged_votes_file_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1: Input data was truncated; expected one JSON object a line."),
        ("\n[1]", "line 2: Expected `object`, got `array`"),
        ('{"rater": 1.5}', "line 1: no rater and no pair and no speaker"),
        ('{"rater": true}', "line 1: no rater and no pair"),
    ],
)
def test_damaged_json_lines_are_refused_with_their_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(written(tmp_path, text, "votes.jsonl"))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    assert "a file ending in '.xlsx'; expected one that ends in .csv or .jsonl." in refused(tmp_path / "votes.xlsx")
    path = tmp_path / "votes.csv"
    path.write_bytes(VOTES.encode() + b"\xff\xfe")
    assert "votes.csv: not UTF-8" in refused(path)


# Ratings -----------------------------------------------------------------------------------------------------------


def test_hand_counted_ratings(tmp_path: Path) -> None:
    found = opinions(load_ratings(written(tmp_path, RATINGS)))
    assert (found.ours, found.methods, found.scenarios) == ("new", ("new", "old"), ("clap", "drum"))
    new, old, *_ = found.opinions
    assert (new.scenario, new.ratings, new.pairs, new.speakers, new.mean) == ("", 4, 3, 3, 3.5)
    assert new.histogram == (0, 1, 1, 1, 1)
    assert (old.mean, old.bad, old.histogram) == (1.75, 2, (2, 1, 1, 0, 0))
    assert [(one.scenario, one.method, one.mean) for one in found.opinions[2:]] == [
        ("clap", "new", 4.0), ("clap", "old", 2.0), ("drum", "new", 2.0), ("drum", "old", 1.0),
    ]  # fmt: skip
    whole, clap, drum = found.contrasts
    assert (whole.difference, whole.pairs, whole.speakers) == (1.75, 2, 2)  # p3 and p4 have but one method each
    assert whole.by_pair is not None
    assert whole.by_pair == (2.0, None, None, 0.5, 1, "sign-flip")  # both pairs differ by 2
    pooled = math.sqrt((5 + 2.75) / 6)
    assert whole.d == pytest.approx(1.75 / pooled, rel=1e-12)
    assert (clap.scenario, clap.difference, clap.pairs) == ("clap", 2.0, 2)
    assert (drum.pairs, drum.by_pair, drum.wilcoxon, drum.by_speaker, drum.flip) == (0, None, None, None, None)
    assert (drum.d, drum.welch, drum.mann_whitney) == (None, None, 1.0)
    assert (whole.paired, whole.units, whole.crossed) == (
        3,
        ("speaker", "rater"),
        whole.by_pair,
    )  # all three differ by 2
    assert (drum.paired, drum.crossed, drum.crossed_adjusted) == (0, None, None)


def ratings_of(seed: int, pairs: int = 12) -> list[Rating]:
    rng = np.random.default_rng(seed)
    return [
        Rating(
            f"r{r}", f"p{p}", method, int(np.clip(round(rng.normal(3 + 0.4 * (method == "new"), 1)), 1, 5)), f"s{p % 5}"
        )
        for p in range(pairs)
        for method in ("new", "old")
        for r in range(4)
    ]


def test_tests_of_ratings_are_those_of_an_independent_tool() -> None:
    ratings = ratings_of(2)
    found = opinions(ratings)
    (one,) = found.contrasts
    ours, theirs = (np.array([r.rating for r in ratings if r.method == m], dtype=float) for m in ("new", "old"))
    assert one.welch == pytest.approx(scipy.stats.ttest_ind(ours, theirs, equal_var=False).pvalue, rel=1e-12)
    assert one.mann_whitney == pytest.approx(scipy.stats.mannwhitneyu(ours, theirs).pvalue, rel=1e-12)
    deviation = math.sqrt((ours.var(ddof=1) + theirs.var(ddof=1)) / 2)
    assert one.d == pytest.approx((ours.mean() - theirs.mean()) / deviation, rel=1e-12)
    means = {
        p: np.mean([r.rating for r in ratings if (r.method, r.pair) == ("new", p)]) for p in {r.pair for r in ratings}
    }
    others = {p: np.mean([r.rating for r in ratings if (r.method, r.pair) == ("old", p)]) for p in means}
    differences = {p: means[p] - others[p] for p in means}
    paired = scipy.stats.ttest_rel([means[p] for p in means], [others[p] for p in means])
    assert one.by_pair is not None
    assert one.by_pair.p == pytest.approx(paired.pvalue, rel=1e-12)
    assert (one.by_pair.lower, one.by_pair.upper) == pytest.approx(tuple(paired.confidence_interval()), rel=1e-12)
    speakers = [np.mean([differences[f"p{p}"] for p in range(12) if p % 5 == s]) for s in range(5)]
    assert one.by_speaker is not None
    assert one.by_speaker.p == pytest.approx(scipy.stats.ttest_1samp(speakers, 0).pvalue, rel=1e-9)
    signs = itertools.product((-1, 1), repeat=5)
    reached = [abs(np.dot(sign, speakers)) >= abs(sum(speakers)) - 1e-9 for sign in signs]
    assert one.flip is not None
    assert (one.flip.p, one.flip.attainable) == (sum(reached) / 32, 2 / 32)
    new = found.opinions[0]
    ends = scipy.stats.t.interval(0.95, len(ours) - 1, ours.mean(), scipy.stats.sem(ours))
    assert new.by_rating == pytest.approx(ends, rel=1e-12)
    ends = scipy.stats.t.interval(0.95, 11, np.mean(list(means.values())), scipy.stats.sem(list(means.values())))
    assert new.by_pair == pytest.approx(ends, rel=1e-12)


def test_ratings_that_all_differ_alike_prove_no_more_than_their_clusters_can() -> None:
    rows = itertools.product(("ann", "bob"), range(6), (("new", 5), ("old", 3)))
    ratings = [Rating(rater, f"p{p}", method, rating, f"s{p % 3}") for rater, p, (method, rating) in rows]
    found = opinions(ratings)
    (one,) = found.contrasts
    assert (one.by_pair, one.by_speaker) == (
        (2.0, None, None, 2 / 2**6, 5, "sign-flip"),
        (2.0, None, None, 2 / 2**3, 2, "sign-flip"),
    )
    assert one.crossed == (2.0, None, None, 2 / 2**2, 1, "sign-flip")  # of two raters
    assert (one.welch, one.d) == (None, None)
    assert {(row.by_rating, row.by_pair, row.by_speaker) for row in found.opinions} == {(None, None, None)}


def test_means_that_cancel_up_to_rounding_are_no_difference() -> None:
    given = {"p1": ((4, 5, 5), (4, 4, 5)), "p2": ((1, 2, 2), (2, 2, 2))}  # means differ by a third, one up and one down
    ratings = [
        Rating(f"r{r}", f"{p}{s}", method, rating, s)
        for s, (p, both) in itertools.product("ab", given.items())
        for method, of in zip(("new", "old"), both, strict=True)
        for r, rating in enumerate(of)
    ]
    (one,) = opinions(ratings).contrasts
    assert one.by_speaker == (0.0, None, None, 1.0, 1, "sign-flip")
    assert one.flip is not None
    assert one.flip.p == 1.0


@pytest.mark.parametrize("known", [True, False], ids=["speakers known", "pairs only"])
def test_crossed_contrasts_are_of_ratings_of_both_and_those_of_an_independent_tool(known: bool) -> None:
    ratings = [one._replace(speaker=one.speaker if known else "") for one in ratings_of(24)]
    ratings = ratings[:-3]  # three ratings of the one method have none of the other
    (one,) = opinions(ratings).contrasts
    unit = "speaker" if known else "pair"
    given = {(r.rater, r.pair, r.method): r for r in ratings}
    kept = [
        (r, given[r.rater, r.pair, "old"]) for r in ratings if r.method == "new" and (r.rater, r.pair, "old") in given
    ]
    values = np.array([float(ours.rating - theirs.rating) for ours, theirs in kept])
    groups = np.array([[int(getattr(ours, name).lstrip("psr")) for name in (unit, "rater")] for ours, _ in kept])
    fit = OLS(values, np.ones_like(values)).fit(cov_type="cluster", cov_kwds={"groups": groups})
    assert (one.paired, one.units) == (45, (unit, "rater"))
    assert one.crossed is not None
    assert (one.crossed.degrees, one.crossed.test) == (3, "t")
    assert one.crossed.value == pytest.approx(fit.params[0])
    assert one.crossed.p == pytest.approx(2 * scipy.stats.t.sf(abs(fit.params[0]) / fit.bse[0], 3), rel=1e-9)
    ends = scipy.stats.t.interval(0.95, 3, fit.params[0], fit.bse[0])
    assert (one.crossed.lower, one.crossed.upper) == pytest.approx(ends, rel=1e-9)


def test_without_raters_of_both_methods_there_is_no_crossed_contrast() -> None:
    ratings = [one._replace(rater=f"{one.rater} {one.method}") for one in ratings_of(3)]
    (one,) = opinions(ratings).contrasts
    assert (one.paired, one.crossed, one.crossed_adjusted) == (0, None, None)
    (one,) = opinions([one for one in ratings_of(3) if one.rater == "r1"]).contrasts
    assert (one.paired, one.crossed) == (12, None)


@pytest.mark.slow
def test_where_raters_differ_in_what_they_like_only_crossed_contrasts_are_right() -> None:
    trials, wrong = 60, {"by_pair": 0, "by_speaker": 0, "crossed": 0}
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        liking = rng.normal(0, 0.4, (9, 2))  # of a rater for a method
        felt = 3 + liking[:, None] + rng.normal(0, 0.5, (16, 1)) + rng.normal(0, 0.7, (9, 16, 2))
        rated = np.clip(np.rint(felt), 1, 5).astype(int)
        (one,) = opinions(
            [
                Rating(f"r{r}", f"p{p}", ("new", "old")[m], int(rating), f"s{p % 8}")
                for (r, p, m), rating in np.ndenumerate(rated)
            ]
        ).contrasts
        for name in wrong:
            wrong[name] += getattr(one, name).p <= 0.05
    assert min(wrong["by_pair"], wrong["by_speaker"]) > 0.2 * trials
    assert wrong["crossed"] <= trials * (0.05 + 3 * math.sqrt(0.05 * 0.95 / trials))


def test_contrasts_of_scenarios_are_adjusted_over_the_scenarios() -> None:
    ratings = [one._replace(scenario=f"x{int(one.pair[1:]) % 3}") for one in ratings_of(4)]
    whole, *each = opinions(ratings).contrasts
    assert whole.by_pair is not None
    assert whole.by_pair_adjusted == whole.by_pair.p
    ps = [one.by_pair.p for one in each if one.by_pair is not None]
    assert [one.by_pair_adjusted for one in each] == holm(ps) != ps
    ps = [one.by_speaker.p for one in each if one.by_speaker is not None]
    assert [one.by_speaker_adjusted for one in each] == holm(ps)
    ps = [one.crossed.p for one in each if one.crossed is not None]
    assert [one.crossed_adjusted for one in each] == holm(ps) != ps


def test_the_other_method_as_ours_turns_every_contrast() -> None:
    (one,), (turned,) = (opinions(ratings_of(6), ours).contrasts for ours in ("new", "old"))
    assert (turned.ours, turned.other, turned.difference) == ("old", "new", -one.difference)
    assert (turned.welch, turned.mann_whitney) == (one.welch, one.mann_whitney)
    assert one.by_pair is not None
    assert turned.by_pair is not None
    assert one.by_pair.upper is not None
    assert (turned.by_pair.p, turned.by_pair.lower) == (one.by_pair.p, -one.by_pair.upper)
    assert one.crossed is not None
    assert turned.crossed is not None
    assert one.crossed.upper is not None
    assert (turned.crossed.p, turned.crossed.lower) == (one.crossed.p, -one.crossed.upper)


def test_the_order_of_ratings_changes_no_number() -> None:
    ratings = ratings_of(8)
    shuffled = [ratings[at] for at in np.random.default_rng(0).permutation(len(ratings))]
    assert opinions(shuffled, "new") == opinions(ratings, "new")


def test_the_limit_of_bad_is_asked_for(tmp_path: Path) -> None:
    ratings = load_ratings(written(tmp_path, RATINGS))
    assert [one.bad for one in opinions(ratings, limit=2).opinions[:2]] == [1, 3]
    with pytest.raises(UsageError, match="ratings up to 0 as Bad; expected a whole number from 1 to 5"):
        opinions(ratings, limit=0)
    with pytest.raises(UsageError, match=r"unknown method 'mew'\. Did you mean new"):
        opinions(ratings, "mew")
    with pytest.raises(UsageError, match="no ratings"):
        opinions([])
    with pytest.raises(UsageError, match="no votes"):
        tally([])


def test_speakers_and_scenarios_are_optional_but_for_every_row(tmp_path: Path) -> None:
    bare = "rater,pair,method,rating\nann,p1,new,5\nann,p1,old,4\nbob,p2,new,3\nbob,p2,old,1\n"
    found = opinions(load_ratings(written(tmp_path, bare)))
    assert (found.scenarios, found.opinions[0].speakers, found.opinions[0].by_speaker) == ((), 0, None)
    assert (found.contrasts[0].pairs, found.contrasts[0].speakers, found.contrasts[0].flip) == (2, 0, None)
    first = {"rater": "ann", "pair": "p1", "method": "new", "rating": 5}
    for rows, said in (
        (
            [first, {**first, "pair": "p2", "speaker": "s1"}],
            "line 2: speaker is given; expected it in every row or in none.",
        ),
        (
            [{**first, "speaker": "s1"}, {**first, "pair": "p2"}],
            "line 2: no speaker; expected rater, pair, method, rating, sp",
        ),
    ):
        path = written(tmp_path, "\n".join(map(json.dumps, rows)), "mixed.jsonl")
        assert said in refused(path, load_ratings)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("clap,new,5", "clap,new,6", "line 2: rating '6'; expected a whole number from 1 to 5."),
        ("clap,new,5", "clap,new,4.5", "line 2: rating '4.5'"),
        ("clap,new,5", "clap,new,0", "line 2: rating '0'"),
        ("clap,new,5", "clap,new,", "line 2: rating is empty"),
        ("bob,p1,s1,clap,new", "ann,p1,s1,clap,new", "rater 'ann' rates pair 'p1' of 'new' for the second time, after line 2"),
        ("bob,p1,s1,clap,old", "bob,p1,s2,clap,old", "line 7: pair 'p1' has speaker 's2', but 's1' in line 2"),
        ("bob,p1,s1,clap,old", "bob,p1,s1,drum,old", "line 7: pair 'p1' has scenario 'drum', but 'clap' in line 2"),
    ],
)  # fmt: skip
def test_damaged_ratings_are_refused_with_their_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert RATINGS.count(old) == 1
    assert said in refused(written(tmp_path, RATINGS.replace(old, new)), load_ratings)


# Tables ------------------------------------------------------------------------------------------------------------


def test_the_table_says_what_was_counted(tmp_path: Path) -> None:
    table = human(tally(load_votes(written(tmp_path, VOTES))), "votes.csv@0123")
    assert [column.scale for column in table.columns] == [
        "ours", "equal", "other", "win_rate", "win_rate_from", "win_rate_to", "votes",
        "p_holm", "p_holm_clustered",
    ]  # fmt: skip
    (block,) = table.blocks
    assert block.heading == "new against old"
    voice, sounds = block.rows
    assert [cell.text for cell in voice.cells[:4]] == ["66.7", "16.7", "16.7", "80.0"]
    assert (voice.cells[6].text, voice.cells[7].text, voice.cells[7].value) == ("6", "0.750", 0.75)
    assert [cell.text for cell in sounds.cells] == ["0.0", "100.0", "0.0", "–", "–", "–", "1", "1.000", "–"]
    assert "votes:votes.csv@0123" in table.signatures[0]
    assert "treats votes as independent" in table.caption
    assert "the votes of a speaker and those of a rater in clusters; claims go by it" in table.caption
    assert "adjusted over its 2 rows (Holm)" in table.caption


def test_the_table_of_published_totals_prints_the_paper_and_the_largest_p_that_fits() -> None:
    rows = [
        Totals("Kling", "manners", 65.2, 30.7, 68.0, tuple(fitting_counts(65.2, 30.7, 68.0, low=283, high=290))),
        Totals("Eleven", "manners", 55.5, 39.9, 58.1, tuple(fitting_counts(55.5, 39.9, 58.1))),
        Totals("Eleven", "nonsense", 55.5, 55.0, 58.1, ()),
    ]
    table = human_of_totals("ID-LoRA", rows, 35, "As published.")
    kling, eleven, nonsense = (row for block in table.blocks for row in block.rows)
    assert [cell.text for cell in kling.cells[:6]] == ["65.2", "4.1", "30.7", "68.0", "287/290", "<0.001"]
    assert kling.cells[5].value == binomial(187, 88) > binomial(189, 89)
    assert [cell.text for cell in eleven.cells] == ["55.5", "4.6", "39.9", "58.1", "283", "0.009", "0.045", "0.092"]
    assert [cell.text for cell in nonsense.cells[4:]] == ["–"] * 4
    assert {row.kind for block in table.blocks for row in block.rows} == {"published"}
    assert table.caption.startswith("As published. Shares of all votes")


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_lays_the_rates_out(tmp_path: Path, form: str) -> None:
    said = FORMATS[form](human(tally(load_votes(written(tmp_path, VOTES)))))
    assert "voice" in said
    assert "66.666" in said if form == "csv" else "66.7" in said
    published = human_of_totals("ours", [Totals("old", "voice", 80.7, 17.5, 82.1, (Counts(230, 50, 5),))], 35, "Paper.")
    assert "80.7" in FORMATS[form](published)


@needs_latex
def test_the_rates_compile_whatever_they_are_called(tmp_path: Path) -> None:
    hostile = "50 % $\\alpha$ & <b>_#{~^\u202e漢"
    votes = [one._replace(question=hostile, other=hostile) for one in load_votes(written(tmp_path, VOTES))][:6]
    compiled(tmp_path, FORMATS["latex"](human(tally(votes), hostile)))


# Commands ----------------------------------------------------------------------------------------------------------


def preference_of(said: str) -> Any:
    return json.loads(said)["preferences"][0]


def test_votes_are_printed_as_a_table_with_details_and_as_json(tmp_path: Path) -> None:
    path = written(tmp_path, VOTES)
    shown = run("votes", path)
    assert shown.exit_code == 0, shown.output
    assert "new against old, voice" in shown.stdout
    assert "wins 4, losses 1, ties 1; pairs 3, raters 2, speakers 2" in shown.stdout
    found = preference_of(run("votes", path, "--format", "json").stdout)
    row: Preference = tally(load_votes(path))[0]
    assert found["counts"] == {"wins": 4, "losses": 1, "ties": 1, "votes": 6, "win_rate": 0.8}
    assert found["clustered"][0]["score"]["p"] == row.clustered[0].score.p
    assert (found["interval"]["lower"], found["interval"]["upper"]) == row.interval
    assert found["clustered_p"] == row.clustered_p
    assert preference_of(run("votes", path, "--format", "json", "--ours", "old").stdout)["counts"]["wins"] == 1


def test_votes_that_are_not_about_ours_are_left_out_aloud(tmp_path: Path) -> None:
    path = written(tmp_path, VOTES + "cid,p2,s1,voice,old,third,ours,1\n")
    shown = run("votes", path, "--ours", "new", "--format", "json")
    assert "note: 1 of 8 votes are not about new and are left out." in shown.stderr
    assert preference_of(shown.stdout)["counts"]["votes"] == 6


def test_a_split_is_asked_for_speakers(tmp_path: Path) -> None:
    make_split(tmp_path / "split", {"p1": "s1", "p2": "s1", "p3": "s2"})
    text = "\n".join(",".join(row.split(",")[:2] + row.split(",")[3:]) for row in VOTES.splitlines())
    (folder,) = (path.parent for path in tmp_path.rglob("split.toml"))
    shown = run("votes", written(tmp_path, text), "--split", folder, "--format", "json")
    assert shown.exit_code == 0, shown.exception
    assert preference_of(shown.stdout)["speakers"] == 2


def test_opinions_are_printed_as_text_and_as_json(tmp_path: Path) -> None:
    path = written(tmp_path, RATINGS)
    shown = run("mos", path).stdout
    assert "new against old" in shown
    assert "2/4 50.0 %" in shown
    assert "Bad (1 to 2)" in run("mos", path, "--bad", 2).stdout
    found = json.loads(run("mos", path, "--format", "json").stdout)
    assert found["opinions"][0]["mean"] == 3.5
    assert found["contrasts"][0]["by_pair"]["value"] == 2.0
    assert (
        json.loads(run("mos", path, "--format", "json", "--ours", "old").stdout)["contrasts"][0]["difference"] == -1.75
    )


def test_totals_are_looked_for_and_weighed() -> None:
    shown = run("totals", "--ours", 55.5, "--other", 39.9, "--win-rate", 58.1)
    assert shown.exit_code == 0
    assert "283     157     113    13   58.15 %" in shown.stdout
    assert "0.009  0.024  0.045  0.068  0.092" in shown.stdout
    found = json.loads(
        run("totals", "--ours", 65.2, "--other", 30.7, "--from", 283, "--to", 290, "--format", "json").stdout
    )
    assert {(one["wins"], one["losses"]) for one in found["fits"]} >= {(187, 88), (189, 89)}
    nine = json.loads(
        run(
            "totals", "--ours", 55.5, "--other", 39.9, "--win-rate", 58.1, "--votes-per-pair", 9, "--format", "json"
        ).stdout
    )
    assert nine["fits"][0]["sensitivity"]["votes_per_pair"] == 9.0


def test_totals_that_contradict_each_other_fail() -> None:
    shown = run("totals", "--ours", 55.5, "--other", 39.9, "--win-rate", 92.4)
    assert shown.exit_code == 1
    assert "No count of votes prints as these percentages." in shown.stdout


def test_an_unknown_format_or_a_split_without_pairs_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, VOTES)
    assert "unknown format 'jsn'. Did you mean json" in str(run("votes", path, "--format", "jsn").exception)
    assert "0 pairs; expected one at least" in str(run("totals", "--ours", 5, "--other", 5, "--pairs", 0).exception)
