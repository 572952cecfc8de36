package letter

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"

	"tocsin/paging"
)

// A Letter is the two forms of one mail.
type Letter struct {
	Subject string // one line
	Plain   string
	HTML    string
}

// Write makes the mail of m. A link that is not http or https is left out.
func Write(m paging.Message) (Letter, error) {
	text := strings.ToValidUTF8(m.Text, "\uFFFD")
	link := safeLink(m.Link)
	l := Letter{Subject: oneLine(m.Subject), Plain: text}
	if link != "" && !strings.Contains(text, link) {
		l.Plain = strings.TrimRight(text, "\n") + "\n\n" + link + "\n"
	}
	if l.Subject == "" {
		first, _, _ := strings.Cut(text, "\n")
		l.Subject = oneLine(first)
	}
	var b strings.Builder
	err := page().Execute(&b, struct {
		Subject string
		Lines   []string
		Link    string
		Answer  bool
	}{l.Subject, strings.Split(strings.TrimSpace(text), "\n"), link, m.CanAnswer})
	if err != nil {
		return Letter{}, fmt.Errorf("mail of page %s: %w", m.ID, err)
	}
	l.HTML = b.String()
	return l, nil
}

func safeLink(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	return u.String()
}

// oneLine keeps a header a header: no control characters, at most 200 of the others.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 200 {
		return string(r[:199]) + "…"
	}
	return s
}

// page is parsed for each use: a mail is rare, and a package without state is easier to reason about.
func page() *template.Template {
	return template.Must(template.New("letter").Parse(source))
}

const source = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{{.Subject}}</title></head>
<body style="margin:0;padding:24px;background:#ffffff;color:#1a1a1a;font:16px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif">
<main style="max-width:36em">
<h1 style="font-size:20px;line-height:1.3;margin:0 0 16px">{{.Subject}}</h1>
{{range .Lines}}<p style="margin:0 0 8px">{{.}}</p>
{{end}}{{if .Link}}<p style="margin:24px 0"><a href="{{.Link}}" style="display:inline-block;padding:12px 20px;border-radius:6px;background:#0b57d0;color:#ffffff;text-decoration:none;font-weight:600">{{if .Answer}}Open and answer{{else}}Open{{end}}</a></p>
<p style="margin:0;color:#595959;font-size:14px">Opening the link changes nothing by itself.</p>
{{end}}</main>
</body>
</html>
`
