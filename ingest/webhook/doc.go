// Package webhook takes any JSON that a sender posts to POST /in/{source}, and makes alerts of it as the source's mapping
// says (kind json).
//
// It is not for senders whose form is known: their kinds have packages of their own, whose parsers the same door calls.
//
// # The mapping
//
// Each field is one expression (expr-lang) over body, the decoded body. Only key has to be there:
//
//	key          the sender's identity of the alert: a text or a number
//	status       firing, resolved or acknowledged; without it every message fires
//	severity     the sender's own word
//	summary      one line; without it the key
//	labels       name: expression; one that gives nothing is left out
//	annotations  name: expression, the same
//	about        the host, service or check; without it label host, service, or the key
//	url          where the sender shows it
//	starts_at    RFC 3339, or seconds or milliseconds since 1970
//	each         a list, for bodies that hold several alerts: the others then see item and index too
//
// Functions: len, lower, upper, trim, trimPrefix, trimSuffix, hasPrefix, hasSuffix, indexOf, split, join, string, int, float,
// abs, ceil, floor, round, max, min, first, last, get, type, and any, all, none, filter, map, find and count,
// not one inside the other, so that an expression takes time in proportion to the body. Nothing reads the clock, the
// environment, or anything else but the body.
//
// Whole numbers must fit into 64 bits: one that had to be rounded could make two alerts one. Two names of one object that
// differ only in case are refused, as doubled ones are. A body may be 100 levels deep, a
// list may have 10,000 elements, and all expressions of one body may take 2 s.
//
// # Answers
//
// 202 {"accepted": n, "events": [id...]} once all is durable. Of a batch that is bad in part the good alerts count: 202, with
// refused and errors [{item, field, detail}] beside them. When nothing of it is good, 400 as problem+json with the same errors. A
// source is known only to who has its token: 401 says nothing about its name.
package webhook
