use super::*;
use crate::krate::Canonical;

fn at(hours: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000 + hours)
}

fn op(number: u64) -> OpId {
    format!("{number:032x}").parse().expect("digits")
}

fn delta(counter: u128, number: u64, counts: &[(&str, &str, u64)]) -> Delta {
    let mut sums = Counts::default();
    for (krate, version, times) in counts {
        sums.add(&Canonical::parse(krate).expect("a name"), version, *times);
    }
    Delta { counter: Ulid::from(counter), number, counts: sums }
}

fn listed(deltas: &[(u128, u64)]) -> Listed {
    let mut listed = Listed::new();
    for (counter, number) in deltas {
        listed.entry(Ulid::from(*counter)).or_default().insert(*number);
    }
    listed
}

fn with(total: &Total, deltas: Vec<Delta>, hours: i64) -> Total {
    let shown: Vec<_> = deltas.iter().map(|delta| (u128::from(delta.counter), delta.number)).collect();
    let next = total.with(deltas, &listed(&shown), op(7), at(hours), Rules::default()).expect("sound");
    Total::parse(&next.to_bytes()).expect("it reads back")
}

#[test]
fn deltas_are_added_in_order_and_the_rest_stays_as_it_is() {
    let first = with(&Total::empty(), vec![delta(1, 1, &[("b", "1.0.0", 2), ("d", "1.0.0", 1)])], 0);
    let second = with(
        &first,
        vec![
            delta(1, 2, &[("a", "1.0.0", 1), ("b", "1.0.0", 3)]),
            delta(2, 1, &[("b", "2.0.0", 5), ("e", "1.0.0", 1)]),
        ],
        1,
    );
    let lines = gzip_text(&second.crates);
    let expected =
        "[\"a\",{\"1.0.0\":1}]\n[\"b\",{\"1.0.0\":5,\"2.0.0\":5}]\n[\"d\",{\"1.0.0\":1}]\n[\"e\",{\"1.0.0\":1}]\n";
    assert_eq!(lines, expected);
    let sums = second.sums().expect("sound");
    assert_eq!((sums["b"], sums["e"], sums.len()), (10, 1, 4));
}

fn gzip_text(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).expect("gzip");
    text
}

#[test]
fn a_delta_is_added_once_and_deleted_after_that() {
    let total = with(&Total::empty(), vec![delta(1, 1, &[("a", "1.0.0", 1)]), delta(1, 2, &[("a", "1.0.0", 1)])], 0);
    let plan = total.plan(&listed(&[(1, 1), (1, 2), (1, 3), (1, 5), (2, 2), (3, 1)]), Rules::default());
    let number = |counter: u128, number| (Ulid::from(counter), number);
    assert_eq!(plan.delete, [number(1, 1), number(1, 2)]);
    assert_eq!(plan.fold, [number(1, 3), number(3, 1)]);
    assert_eq!(plan.waiting, 2, "over a gap nothing is added");
}

#[test]
fn a_counter_is_forgotten_late() {
    let mut total = with(&Total::empty(), vec![delta(1, 1, &[("a", "1.0.0", 1)])], 0);
    let knows = |total: &Total| total.plan(&listed(&[(1, 1)]), Rules::default()).fold.is_empty();
    total = with(&total, vec![delta(2, 1, &[("a", "1.0.0", 1)])], 24 * 31);
    assert!(knows(&total), "a clock that jumps forgets nobody");
    for number in 0..GENERATIONS_KEPT {
        total = with(&total, vec![delta(2, number + 2, &[("a", "1.0.0", 1)])], 24 * 29);
    }
    assert!(knows(&total), "nor do many totals");
    total = with(&total, vec![delta(2, GENERATIONS_KEPT + 2, &[("a", "1.0.0", 1)])], 24 * 31);
    assert!(!knows(&total), "both do");
}

#[test]
fn it_is_due_after_an_hour_and_when_its_time_is_odd() {
    let total = with(&Total::empty(), vec![delta(1, 1, &[("a", "1.0.0", 1)])], 10);
    assert!(Total::empty().is_due(at(0)));
    assert!(!total.is_due(at(10)) && total.is_due(at(11)) && total.is_due(at(8)));
}

#[test]
fn a_damaged_total_is_not_added_to() {
    let total = with(&Total::empty(), vec![delta(1, 1, &[("a", "1.0.0", 1), ("b", "1.0.0", 1)])], 0);
    let bytes = total.to_bytes();
    assert!(Total::parse(&bytes.slice(..20)).is_err());
    for lines in ["[\"b\",{}]\n[\"a\",{}]\n", "[\"a\",{\"1.0.0\":-1}]\n", "x\n", "[\"a\",{}]"] {
        let crates = gzip(|out| out.write_all(lines.as_bytes())).expect("memory");
        let damaged = Total { crates, ..total.clone() };
        assert!(damaged.sums().is_err(), "{lines}");
        let more = vec![delta(1, 2, &[("a", "1.0.0", 1)])];
        assert!(damaged.with(more, &Listed::new(), op(1), at(1), Rules::default()).is_err(), "{lines}");
    }
    let cut = Total { crates: total.crates.slice(..total.crates.len() - 4), ..total };
    assert!(cut.sums().is_err());
}

#[test]
fn the_stored_form() {
    let total = with(&Total::empty(), vec![delta(1, 1, &[("a", "1.0.0", 1)])], 0);
    let mut header = String::new();
    flate2::bufread::GzDecoder::new(&total.to_bytes()[..]).read_to_string(&mut header).expect("gzip");
    let expected = format!(
        "{{\"op\":\"{}\",\"format\":1,\"generation\":1,\"folded_at\":\"{}\",\"counters\":{{\"{}\":{{\"number\":1,\"generation\":1,\"at\":\"{}\"}}}}}}\n",
        op(7),
        at(0),
        Ulid::from(1),
        at(0)
    );
    assert_eq!(header, expected);
}

#[test]
fn a_gap_is_a_delta_that_others_wait_for() {
    let total = Total::empty();
    let listed = |numbers: &[u64]| Listed::from([(Ulid::from(1), numbers.iter().copied().collect())]);
    let gaps = |total: &Total, numbers: &[u64]| -> Vec<_> {
        let gaps = total.gaps(&listed(numbers)).into_iter();
        gaps.map(|gap| (*gap.missing.start(), *gap.missing.end(), gap.waiting)).collect()
    };
    for (numbers, expected) in [
        (&[1, 2, 3][..], &[][..]),
        (&[], &[]),
        (&[2], &[(1, 1, 1)]),
        (&[1, 3, 5], &[(2, 2, 2), (4, 4, 1)]),
        (&[2, 7, 8], &[(1, 1, 3), (3, 6, 2)]),
        (&[1, u64::MAX], &[(2, u64::MAX - 1, 1)]),
    ] {
        assert_eq!(gaps(&total, numbers), expected, "{numbers:?}");
    }
    let one = Delta { counter: Ulid::from(1), number: 1, counts: Counts::default() };
    let op = "1".repeat(32).parse().expect("digits");
    let next = total.with(vec![one], &listed(&[1]), op, Timestamp::UNIX_EPOCH, Rules::default()).expect("sound");
    for (numbers, expected) in [(&[1][..], &[][..]), (&[2, 3], &[]), (&[1, 3], &[(2, 2, 1)]), (&[4, 5], &[(2, 3, 2)])] {
        assert_eq!(gaps(&next, numbers), expected, "{numbers:?} after 1");
    }
}
