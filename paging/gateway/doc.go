// Package gateway makes one HTTP request to a provider's API, bounded in time and in size, and says for sure whether
// anything can have reached the provider.
//
// That one bit is what paging stands on: a request that was never written may be sent again at once, one that was written
// and not answered may have woken somebody already. It knows no provider: what a status or a code means is decided in the
// provider's own package.
package gateway
