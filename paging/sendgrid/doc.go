// Package sendgrid sends pages by mail through SendGrid's v3 API, and reads its event webhook.
//
// Each message is a request of its own: the library's client is shared state and can mail one person's page to another, so
// only its JSON builder and its signature check are used. A page's id goes along as the custom argument "page" and comes
// back with every event. SendGrid offers no look-up that every plan has, so this is no paging.Finder: a send of unknown
// outcome is settled by an event, or sent once more.
package sendgrid
