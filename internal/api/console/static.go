package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
)

//go:embed static templates
var files embed.FS

// static is what pages need beside themselves, under names that change with what is in them: browsers keep them for ever.
type static struct {
	Style, Script, Icon string // addresses
	files               map[string]asset
}

type asset struct {
	kind         string
	plain, small []byte
}

func loadStatic() (*static, error) {
	s := &static{files: map[string]asset{}}
	for _, f := range []struct {
		name, kind string
		address    *string
	}{
		{"console.css", "text/css; charset=utf-8", &s.Style},
		{"console.js", "text/javascript; charset=utf-8", &s.Script},
		{"bell.svg", "image/svg+xml", &s.Icon},
	} {
		b, err := files.ReadFile("static/" + f.name)
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		var packed bytes.Buffer
		z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if err == nil {
			_, err = z.Write(b)
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			return nil, fmt.Errorf("console: pack %s: %w", f.name, err)
		}
		sum := sha256.Sum256(b)
		ext := path.Ext(f.name)
		name := strings.TrimSuffix(f.name, ext) + "." + base64.RawURLEncoding.EncodeToString(sum[:6]) + ext
		s.files[name] = asset{f.kind, b, packed.Bytes()}
		*f.address = "/static/" + name
	}
	return s, nil
}

func (s *static) serve(w http.ResponseWriter, r *http.Request) {
	f, ok := s.files[r.PathValue("file")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	if takesGzip(r) {
		h.Set("Content-Encoding", "gzip")
		w.Write(f.small)
		return
	}
	w.Write(f.plain)
}

// icon is for those who ask for the icon where browsers once looked for it.
func (s *static) icon(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, s.Icon, http.StatusFound)
}

func takesGzip(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept-Encoding"), "gzip")
}

// packed writes b to w, compressed where r takes that.
func packed(w http.ResponseWriter, r *http.Request, status int, b []byte) {
	w.Header().Add("Vary", "Accept-Encoding")
	if !takesGzip(r) || len(b) < 1<<10 {
		w.WriteHeader(status)
		w.Write(b)
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return // the level is one of gzip's own
	}
	_, _ = io.Copy(z, bytes.NewReader(b)) // the client has gone: nobody is left to tell
	_ = z.Close()
}
