package tocsin

import (
	"crypto/sha256"
	"encoding/hex"
	"unicode/utf8"
)

// maxHandle is how many bytes of a text databases look up by: an index of PostgreSQL takes no more than a third of a page.
const maxHandle = 1000

// Handle is what text is looked up by: the text, or of one with more than 1,000 bytes its beginning and a hash of all of it, so that two texts
// never have the same.
func Handle(text string) string {
	if len(text) <= maxHandle {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	tail := "…" + hex.EncodeToString(sum[:16])
	n := maxHandle - len(tail)
	for !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + tail
}
