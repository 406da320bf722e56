//! The names in the prelude. A new name may clash with one of a service, and a service may use one that is removed, so
//! this list has to change too.

use std::collections::BTreeSet;

use crate::support::source::{Source, Token};

const ALWAYS: [&str; 25] = [
    "ApiVersion",
    "AppState",
    "Deserialize",
    "Draining",
    "Error",
    "Json",
    "Path",
    "Query",
    "Recipient",
    "Result",
    "Router",
    "Serialize",
    "ServiceBuilder",
    "State",
    "StatusCode",
    "VersionedApiBuilder",
    "chrono",
    "delete",
    "get",
    "patch",
    "post",
    "put",
    "serde_json",
    "tokio",
    "uuid",
];
const WITH_CACHE: [&str; 3] = ["CacheConn", "PoolStats", "redis"];

/// The names that a list of imports brings into scope: the last name of each path, or `*` for a glob.
fn names(import: &[(usize, Token)]) -> Vec<String> {
    let mut names = Vec::new();
    let mut last = None;
    for (_, token) in import {
        match token {
            Token::Word(word) => last = Some(word.clone()),
            Token::Mark('*') => last = Some("*".to_owned()),
            Token::Mark(',' | '}') => names.extend(last.take()),
            Token::Mark('{') => last = None,
            Token::Mark(_) | Token::Text(_) => {}
        }
    }
    names.extend(last);
    names
}

/// The names that are exported by a `pub use` with these `attributes`.
fn exported(source: &Source, attributes: &str) -> Vec<String> {
    let start = format!("{attributes} pub use");
    let found = source.find(&start).flat_map(|(_, rest)| {
        let end = rest.iter().position(|(_, token)| *token == Token::Mark(';')).unwrap();
        names(&rest[..end])
    });
    found.collect()
}

#[test]
fn the_prelude_has_these_names_and_no_others() {
    let source = Source::new("src/prelude.rs", include_str!("../../src/prelude.rs"));
    let all = exported(&source, "");
    let with_cache = exported(&source, "#[cfg(feature = \"cache\")]");
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let wanted =
        |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(set(&with_cache), wanted(&WITH_CACHE));
    assert_eq!(set(&all), wanted(&[&ALWAYS[..], &WITH_CACHE].concat()));
    assert_eq!(all.len(), ALWAYS.len() + WITH_CACHE.len(), "no name comes twice");
    // Whatever else is public there would be a name too.
    let public = source.words().filter(|(_, word)| *word == "pub").count();
    assert_eq!(source.find("pub use").count(), public);
}

#[test]
fn a_name_of_the_prelude_is_found_wherever_it_stands() {
    let text = "pub use {a, b::{c as d, e::*}};\n/* pub use x; */ #[cfg(feature = \"cache\")] pub use f::g;";
    let source = Source::new("some.rs", text);
    assert_eq!(exported(&source, ""), ["a", "d", "*", "g"]);
    assert_eq!(exported(&source, "#[cfg(feature = \"cache\")]"), ["g"]);
}

/// Each name, as a service uses it that imports nothing else.
#[cfg(feature = "cache")]
mod uses {
    use acton_service::prelude::*;

    #[derive(Serialize, Deserialize)]
    struct Book {
        id: uuid::Uuid,
        since: chrono::DateTime<chrono::Utc>,
    }

    struct Count;
    impl acton_service::actor::Request for Count {
        type Reply = u64;
    }

    async fn pool(State(state): State<AppState>) -> Result<Json<PoolStats>> {
        let status = state.cache()?.status();
        Ok(Json(PoolStats {
            max_size: status.max_size,
            size: status.size,
            available: status.available,
        }))
    }

    async fn book(mut conn: CacheConn, Path(id): Path<uuid::Uuid>) -> Result<Json<Book>, Error> {
        let text: String = redis::cmd("GET").arg(id.to_string()).query_async(&mut *conn).await?;
        Ok(Json(serde_json::from_str(&text)?))
    }

    async fn count(
        count: Recipient<Count>,
        Query(by): Query<Vec<(String, u64)>>,
    ) -> Result<String> {
        tokio::task::yield_now().await;
        Ok((count.ask(Count).await? + by.len() as u64).to_string())
    }

    async fn gone() -> StatusCode {
        StatusCode::GONE
    }

    #[test]
    fn the_prelude_is_enough_for_a_service() {
        let routes = VersionedApiBuilder::new()
            .add_version(ApiVersion::V1, |router: Router<AppState>| {
                let book = get(book).post(gone).put(gone).patch(gone).delete(gone);
                let others = [post(gone), put(gone), patch(gone), delete(gone), get(pool)];
                let router = router.route("/books/{id}", book).route("/count", get(count));
                others
                    .into_iter()
                    .zip('a'..)
                    .fold(router, |router, (verb, name)| router.route(&format!("/{name}"), verb))
            })
            .build_routes();
        let service = ServiceBuilder::new().with_routes(routes).build();
        assert!(format!("{service:?}").starts_with("Service"));
        let book = Book { id: uuid::Uuid::new_v4(), since: chrono::Utc::now() };
        let shown = serde_json::to_value(&book).unwrap();
        assert_eq!(shown["id"], book.id.to_string());
    }
}
