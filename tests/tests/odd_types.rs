//! The types of the small description with all oddities compile, and go to the wire and back. Its
//! methods need the inside of lxd-client; `.ci/run` compiles them there.

use lxd_client::types::wire;
use lxd_client::types::{bodies, codes, enumerations, records};
use serde_json::json;

lxd_macros::lxd_api!("../lxd-macros/fixtures/odd/swagger2.yaml", types);

use schemas::{Kind, Part, Thing, ThingInner, ThingPatch, ThingPut, ThingsPost};

#[test]
fn a_type_that_holds_itself_is_read_and_written() {
    let json = json!({
        "name": "outer", "type": "very-large", "record-output": true, "recordOutput": true, "self": "s", "small": 200,
        "part": {"label": "l", "weight": 1.5}, "by_name": {"a": {"label": "b"}}, "anything": [1, {"a": null}],
        "gone": 5, "color": "dark-blue", "forgotten": ["f"],
        "inner": {"next": {"name": "nested", "inner": {"next": {"name": "deepest"}}}}
    });
    let thing: Thing = serde_json::from_value(json.clone()).unwrap();
    assert_eq!(thing.r#type, Kind::VeryLarge);
    let nested = thing.inner.as_ref().and_then(|inner| inner.next.as_ref()).unwrap();
    assert_eq!(nested.name, "nested");
    assert_eq!(serde_json::to_value(&thing).unwrap(), json);
    let message = serde_json::from_value::<Thing>(json!({"small": 256})).unwrap_err().to_string();
    assert_eq!(message, "small: expected an integer from 0 to 255, found the number 256");
}

#[test]
fn what_asks_for_an_action_is_not_taken_over() {
    let parts = vec![Part { label: "l".into(), ..Default::default() }];
    let thing =
        Thing { parts: parts.clone(), inner: Some(Box::new(ThingInner::default())), ..Default::default() };
    let put = ThingPut::from(thing);
    assert_eq!(put, ThingPut { parts: Some(parts), ..Default::default() });
    assert_eq!(
        serde_json::to_value(ThingPatch { parts: Some(Vec::new()), ..Default::default() }).unwrap(),
        json!({"parts": []})
    );
}

#[test]
fn a_password_is_not_shown() {
    let request = ThingsPost { password: "hush".into(), ..Default::default() };
    assert_eq!(format!("{request:?}"), "ThingsPost { password: (secret), .. }");
}
