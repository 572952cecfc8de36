// Package providertest is Twilio and SendGrid for tests: HTTP handlers built from the providers' own published API
// descriptions, which refuse every request that the descriptions do not allow.
//
// What each request does is scripted (Step): a status, a delay, a stall after the message was taken, a limit, garbage, a cut
// connection. A ledger says what came, when, and what of it a person would have got. Callbacks come signed as the provider
// signs them. It is linked into no product binary.
package providertest
