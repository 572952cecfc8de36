// Package pagerduty takes alerts as PagerDuty's Events API v2 has them: POST /v2/enqueue with event_action trigger,
// acknowledge or resolve.
//
// It is not Events v1, and change events (POST /v2/change/enqueue) are read and checked but not in force yet: they are
// answered 501, because 202 would say that something was kept.
//
// # What becomes of an event
//
// Its identity is the dedup_key under its routing_key: two keys never share an alert, as with PagerDuty. Without a dedup_key
// (or with an empty one) a trigger gets a fresh one, which the answer returns; acknowledge and resolve need theirs, and
// nothing else. The severity is the sender's word by the source's own table, else one of the usual words; any other is
// refused. An acknowledge or resolve that carries no payload says nothing of severity: it is info, and its summary is empty.
// It is about payload.source.
//
// # Labels
//
// This kind sets component, group and class from the fields of that name, host from payload.source where that looks like a
// host name or an address (not where custom_details say host, node, hostname or instance), and each text, number or bool of
// custom_details under its own name. A text of several lines or over 256 bytes, and what is itself a list or an object,
// becomes an annotation. There is no alertname, and source is no label. The labels that the configuration gives to the source
// and to the routing key win over all of these. links, images and client become annotations; client_url, or else the first
// link, is the alert's address.
//
// # Limits and answers
//
// As documented: summary up to 1,024 characters, dedup_key up to 255, a body up to 512 KB. Of details that are too large to
// keep (an annotation over 32 KiB, over 128 KiB in all) as much is kept as fits, and annotation cut says of which.
// 202, 400 and 429 have the bodies that PagerDuty's have. A routing_key that nobody has is 400, "invalid event", because
// that, and not 401, is what senders for this API know how to read; it is counted as unauthorized.
package pagerduty
