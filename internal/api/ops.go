package api

import (
	_ "embed"
	"io"
	"net/http"
)

// healthz answers that the process lives.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) error {
	return answer(w, struct {
		Status  string `json:"status"`
		Version string `json:"version"`
	}{"ok", s.Version})
}

// readyz answers how the parts are. It is ready as soon as alerts are accepted, even while the state is still being read.
func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) error {
	ready := s.Ready()
	w.Header().Set("Content-Type", "application/json")
	if ready.Doors != "ok" {
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	writeJSON(w, ready)
	return nil
}

// healthy answers as Alertmanager does.
func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) error { return say(w, "OK") }

// ready answers as Alertmanager does.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) error {
	if s.Ready().Doors != "ok" {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "nothing can be made durable now", http.StatusServiceUnavailable)
		return nil
	}
	return say(w, "OK")
}

func say(w http.ResponseWriter, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, text) // a reader that has gone away is nobody's mistake
	return nil
}

// reload reads the configuration again; what is wrong with it is told, and the old one stays.
func (s *Server) reload(w http.ResponseWriter, _ *http.Request) error {
	if s.Reload == nil {
		return refuse(http.StatusNotImplemented, "there is no configuration file to read again")
	}
	err := s.Reload()
	if err != nil {
		http.Error(w, "failed to reload config: "+err.Error(), http.StatusInternalServerError)
		return nil
	}
	return say(w, "")
}

//go:embed openapi.yaml
var openAPI []byte

// openAPI answers the description of our own API.
func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openAPI) // a reader that has gone away is nobody's mistake
	return nil
}
