package app

import (
	"encoding/base64"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"tocsin"
)

// linkTo returns the link of the mail that a person got about a service's incident, once it has come, and its page's id.
func (r *rig) linkTo(person, service string) (link, page string) {
	r.t.Helper()
	r.until("a mail to "+person+" about "+service, func() bool {
		for _, q := range r.sendgrid.Taken() {
			subject, plain, _ := mailOf(r.t, q)
			if q.To == person+"@example.org" && strings.Contains(subject, service) {
				link, page = r.linkIn(plain), q.Page
				return true
			}
		}
		return false
	})
	return link, page
}

var (
	markup = regexp.MustCompile(`(?s)<(script|style|head).*?</(script|style|head)>|<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
)

// words are what a person reads on a page.
func words(page string) string {
	return timeless(strings.TrimSpace(spaces.ReplaceAllString(html.UnescapeString(markup.ReplaceAllString(page, " ")), " ")))
}

// reads fails unless a link, opened or its button pressed, is answered so: by its status, the words that must be there and those that must not.
func (r *rig) reads(what, link, button string, status int, has, not string) {
	r.t.Helper()
	var form url.Values
	if button != "" {
		form = url.Values{"do": {button}, "incident": {"2"}, "by": {"three"}} // nobody may say whom and what it is about but the link
	}
	got, page := r.browse(link, form)
	if got == http.StatusSeeOther {
		got, page = r.browse(link, nil)
	}
	said := words(page)
	if got != status || !strings.Contains(said, has) || not != "" && strings.Contains(page, not) {
		r.t.Errorf("%s: %d %s\nwant %d with %q and without %q", what, got, said, status, has, not)
	}
}

func TestALinkThatIsOldUsedOrOfAnotherIncidentSaysWhatIsSo(t *testing.T) {
	r := newStory(t, bothPaged...)
	r.lag("a", "critical", "db-main", "replication lag 340s")
	r.until("the first incident", func() bool { return len(r.incidents()) == 1 })
	r.lag("b", "critical", "checkout", "no orders for 5m")
	mine, page := r.linkTo("one", "db-main")
	theirs, _ := r.linkTo("two", "db-main")
	other, otherPage := r.linkTo("one", "checkout")
	is := func(id, state, by string) {
		t.Helper()
		if d := r.detail(id); d.State != state || d.AckedBy != by {
			t.Errorf("incident %s is %s by %q, want %s by %q", id, d.State, d.AckedBy, state, by)
		}
	}
	const button = "<button"

	old := strings.Replace(r.a.setup.Load().signed(r.a.office.secret, tocsin.Page{ID: page, DueAt: time.Now().Add(-linkGood - 2*time.Hour)}), public, r.url, 1)
	r.reads("a link of eight days ago", old, "", http.StatusNotFound, "It may be older than seven days", button)
	r.reads("its button", old, "ack", http.StatusNotFound, "It may be older than seven days", button)
	young := strings.Replace(r.a.setup.Load().signed(r.a.office.secret, tocsin.Page{ID: page, DueAt: time.Now().Add(-linkGood + 2*time.Hour)}), public, r.url, 1)
	r.reads("a link of almost seven days ago", young, "", http.StatusOK, "Nobody has it yet.", "")

	token := func(link string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(link[strings.LastIndex(link, "/")+1:])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	crossed := append(token(mine)[:4+macSize:4+macSize], otherPage...)
	swapped := r.url + "/ack/" + base64.RawURLEncoding.EncodeToString(crossed)
	r.reads("the signature of one page for another", swapped, "ack", http.StatusNotFound, "This link is not valid", button)
	is("i1", "triggered", "")
	is("i2", "triggered", "")

	r.reads("the button", mine, "ack", http.StatusOK, "It is yours, since 00:00.", "")
	is("i1", "acknowledged", "one")
	is("i2", "triggered", "")
	r.reads("the button once more", mine, "ack", http.StatusOK, "It is yours, since 00:00.", "")
	r.reads("another one's link", theirs, "", http.StatusOK, "has it, since 00:00. Nothing to do.", ">Acknowledge")
	r.reads("another one's button, drawn before", theirs, "ack", http.StatusOK, "Person One has it, since 00:00. Nothing to do.", ">Acknowledge")
	is("i1", "acknowledged", "one")

	r.reads("the link about the other incident", other, "resolve", http.StatusOK, "It is over:", button)
	is("i2", "resolved", "")
	r.reads("the button of what is over", other, "ack", http.StatusOK, "It is over: resolved by you 00:00. Nothing to do.", button)
	r.reads("a button that is none", mine, "reopen", http.StatusBadRequest, "There is no such button.", "")
	r.reads("a button that is none", mine, "delete", http.StatusBadRequest, "There is no such button.", "")
	is("i1", "acknowledged", "one")
	is("i2", "resolved", "")
}
