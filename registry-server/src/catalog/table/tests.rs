use proptest::prelude::*;

use super::super::row::tests::row;
use super::*;

fn query(text: &str, sort: &str, page: usize, per_page: usize) -> Query {
    Query::new(text, Some(sort), page, per_page).expect("a search")
}

fn names(table: &Table, query: &Query) -> Vec<String> {
    table.search(query, None).hits.iter().map(|hit| hit.row.name.to_string()).collect()
}

fn canonical(name: &str) -> Canonical {
    Canonical::parse(name).expect("a canonical name")
}

/// With a base of these, and nothing changed.
fn table(rows: &[Row]) -> Table {
    let mut table = Table::default();
    rows.iter().for_each(|row| table.put(row.clone()));
    rebase(&mut table);
    table
}

fn rebase(table: &mut Table) {
    let snapshot = table.snapshot();
    table.rebase(Base::build(snapshot.rows()), &snapshot);
}

#[test]
fn the_name_first_then_downloads_then_the_order_of_names() {
    let rows = [
        row("about", "parses json", &[], &[]),
        row("json", "", &[], &[]),
        row("json-tools", "", &[], &[]),
        row("words", "", &["json"], &[]),
        row("xjson", "", &[], &[]),
        row("yjson", "", &[], &[]),
        row("other", "", &[], &[]),
    ];
    let mut table = table(&rows);
    let all = ["json", "json-tools", "xjson", "yjson", "words", "about"];
    assert_eq!(names(&table, &query("JSON", "relevance", 1, 10)), all);
    assert_eq!(names(&table, &query("json", "relevance", 2, 4)), ["words", "about"]);
    assert_eq!(names(&table, &query("json", "relevance", 3, 4)), Vec::<String>::new());
    table.set_downloads(|name| if name == "yjson" { 5 } else { 0 });
    assert_eq!(names(&table, &query("json", "relevance", 1, 4)), ["json", "json-tools", "yjson", "xjson"]);
    assert_eq!(names(&table, &query("json", "downloads", 1, 2)), ["yjson", "about"]);
    assert_eq!(names(&table, &query("", "relevance", 2, 3)), ["other", "words", "xjson"]);
    let one = Row { updated_at: "2030-01-01T00:00:00Z".parse().expect("a time"), ..rows[6].clone() };
    table.put(one);
    assert_eq!(names(&table, &query("", "recent-updates", 1, 2)), ["other", "about"]);
}

#[test]
fn what_may_not_be_read_is_neither_shown_nor_counted() {
    let mut table = table(&[row("a", "x", &[], &[]), row("b", "x", &[], &[]), row("c", "x", &[], &[])]);
    table.put(row("d", "x", &[], &[]));
    table.put(row("b", "x y", &[], &[]));
    for text in ["", "x"] {
        let found = table.search(&query(text, "alpha", 1, 1), Some(&|name| name == "b" || name == "c"));
        assert_eq!((found.total, found.hits[0].row.name.as_str()), (2, "b"), "{text}");
        let found = table.search(&query(text, "alpha", 1, 1), Some(&|_| false));
        assert_eq!((found.total, found.hits.len()), (0, 0), "{text}");
    }
}

#[test]
fn a_row_that_changes_while_a_base_is_built_stays_changed() {
    let mut table = table(&[row("a", "", &[], &[]), row("b", "", &[], &[]), row("c", "", &[], &[])]);
    table.set_downloads(|name| u64::from(name.as_bytes()[0]));
    table.put(row("b", "first", &[], &[]));
    table.put(row("d", "first", &[], &[]));
    table.put(row("e", "first", &[], &[]));
    let snapshot = table.snapshot();
    table.put(row("b", "second", &[], &[]));
    table.put(row("f", "second", &[], &[]));
    table.remove(&canonical("a"));
    table.remove(&canonical("d"));
    table.rebase(Base::build(snapshot.rows()), &snapshot);
    assert_eq!(names(&table, &query("", "alpha", 1, 9)), ["b", "c", "e", "f"]);
    assert_eq!(names(&table, &query("second", "alpha", 1, 9)), ["b", "f"]);
    assert_eq!(table.len(), 4);
    let downloads: Vec<_> =
        table.search(&query("", "alpha", 1, 9), None).hits.iter().map(|hit| hit.downloads).collect();
    assert_eq!(downloads, [98, 99, 0, 0]);
    let late = table.snapshot();
    table.rebase(Base::default(), &snapshot);
    assert_eq!(late.len(), table.len(), "a base made from an older one is not taken");
}

#[derive(Debug, Clone)]
enum Step {
    Put(String, String),
    Remove(String),
    Rebase,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => ("[a-c][a-c_]?", "[xy ]{0,3}").prop_map(|(name, text)| Step::Put(name, text)),
        2 => "[a-c][a-c_]?".prop_map(Step::Remove),
        1 => Just(Step::Rebase),
    ]
}

proptest! {
    /// Whether a row is in the base or has changed since makes no difference.
    #[test]
    fn a_base_makes_no_difference(steps in prop::collection::vec(step(), 0..40), text in "([a-c_xy]{1,2}( x)?)?", page in 1..4usize) {
        let mut table = Table::default();
        let mut plain: BTreeMap<Canonical, Row> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put(name, text) => {
                    let row = row(&name, &text, &[], &[]);
                    plain.insert(row.canonical(), row.clone());
                    table.put(row);
                }
                Step::Remove(name) => {
                    plain.remove(&canonical(&name));
                    table.remove(&canonical(&name));
                }
                Step::Rebase => rebase(&mut table),
            }
        }
        prop_assert_eq!(table.len(), plain.len());
        prop_assert_eq!(table.snapshot().rows().collect::<Vec<_>>(), plain.values().cloned().collect::<Vec<_>>());
        let query = query(&text, "relevance", page, 3);
        let mut fitting: Vec<_> = plain
            .values()
            .filter_map(|row| Some((std::cmp::Reverse(Texts::of(row).score(&query.words)?), row.canonical())))
            .collect();
        fitting.sort();
        let found = table.search(&query, None);
        prop_assert_eq!(found.total, fitting.len());
        let expected: Vec<_> = fitting.into_iter().skip(query.skip).take(3).map(|(_, name)| name).collect();
        prop_assert_eq!(found.hits.iter().map(|hit| hit.row.canonical()).collect::<Vec<_>>(), expected);
    }
}
