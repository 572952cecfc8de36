// Package smtp sends pages by mail through any mail server.
//
// Every mail has a connection of its own, closed when its outcome is known. What happened is read off the point that was
// reached: before the end of DATA nothing was sent; a server's definite word after it is definite; silence after it is an
// unknown outcome. SMTP offers no look-up, so this is no paging.Finder.
package smtp
