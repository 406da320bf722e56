//! An axum app without a `ServiceBuilder`.

use super::*;
use crate::middleware::GuardLayer;

fn app(state: &AppState) -> Router {
    async fn left() -> String {
        assert!(RequestId::current().is_some());
        deadline::current().is_some().to_string()
    }
    async fn panics() {
        panic!("guarded");
    }
    Router::new()
        .route("/left", get(left))
        .route("/panics", get(panics))
        .layer(GuardLayer::new(state))
        .merge(state.health_routes())
        .with_state(state.clone())
}

#[tokio::test]
async fn an_app_without_a_builder_has_what_each_request_passes_first() {
    let state = AppState::start(config()).await.unwrap();
    let response = app(&state).oneshot(a_get("/left")).await.unwrap();
    assert!(response.headers().contains_key("x-request-id"));
    assert_eq!(text_of(response).await, "true");
    let response = app(&state).oneshot(a_get("/panics")).await.unwrap();
    assert_eq!(problem_of(response).await["status"], 500);
    assert!(state.shutdown(Duration::from_secs(5)).await.is_clean());
}

#[tokio::test]
async fn an_app_without_a_builder_shows_its_health_until_it_ends() {
    let state = AppState::start(config()).await.unwrap();
    let health = app(&state).oneshot(a_get("/health")).await.unwrap();
    assert_eq!(health.status(), StatusCode::OK);
    assert!(!health.headers().contains_key("x-request-id"));
    assert!(state.is_running());
    state.shutdown(Duration::from_secs(5)).await;
    let ready = app(&state).oneshot(a_get("/ready")).await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn an_app_does_not_start_with_a_configuration_that_is_refused() {
    let mut config = config();
    config.service.request_timeout = Duration::ZERO;
    config.service.cors = "https://a.example/path".to_owned();
    let error = AppState::start(config).await.unwrap_err();
    let Error::Config(error) = error else { panic!("{error:?}") };
    let keys: Vec<_> = error.faults().iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["service.request_timeout", "service.cors"]);
}

#[tokio::test]
async fn a_request_that_passes_two_guards_has_one_id() {
    let state = AppState::start(config()).await.unwrap();
    let fails = async || Error::conflict("taken");
    let routes = Router::new().route("/", get(fails)).layer(GuardLayer::new(&state));
    let response = routes.layer(GuardLayer::new(&state)).oneshot(a_get("/")).await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(problem_of(response).await["request_id"], id);
    state.shutdown(Duration::from_secs(5)).await;
}
