/**
 * `@resumable` marks a subscription that goes on from a cursor. The gateway reads it from the supergraph: it keeps the cursor of the last
 * event and, when its upstream is lost, subscribes again with it. A field without the mark never resumes silently.
 *
 * `after` and `snapshot` name the field's arguments, `cursor` and `type` the fields of its event.
 */
export const RESUMABLE_SPEC_URL = "https://fleetgraph.dev/specs/resumable/v1.0";

export const RESUMABLE_DEFINITION =
  'directive @resumable(after: String! = "after", snapshot: String! = "snapshot", cursor: String! = "cursor", type: String! = "type") on FIELD_DEFINITION';

/** For `@Directive(RESUMABLE)` on a subscription with the usual names. */
export const RESUMABLE = "@resumable";
