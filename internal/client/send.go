package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

// A Receipt is what a door answered to what was sent by it.
type Receipt struct {
	Accepted int           // alerts that are durable
	Refused  int           // alerts of the batch that are not
	Events   []string      // ids of what was accepted, where the door says them
	Key      string        // the PagerDuty door's dedup_key
	Problems []ItemProblem // what is wrong with the refused ones
	Also     string        // places of refused ones that Problems does not have
	Detail   string        // what the door said of a batch that is half bad, where it says it in words only
	Meant    []Meant       // of a dry run: what would have been made of it
	Control  string        // of a dry run: what else the message is
}

// Meant is what a door would make of a message.
type Meant struct {
	Status      string            `json:"status"`
	Severity    string            `json:"severity"`
	Summary     string            `json:"summary"`
	About       string            `json:"about"`
	Key         string            `json:"key"`
	Fingerprint string            `json:"fingerprint"`
	Labels      map[string]string `json:"labels"`
}

// An AlertmanagerAlert is one alert as Alertmanager's API takes it.
type AlertmanagerAlert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	StartsAt     time.Time         `json:"startsAt,omitzero"`
	EndsAt       time.Time         `json:"endsAt,omitzero"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// SendAlerts posts a batch of alerts, each one JSON, by the Alertmanager door. A batch of which a part is bad comes back
// without an error: Refused says how many.
func (c *Client) SendAlerts(ctx context.Context, alerts []json.RawMessage, dryRun bool) (Receipt, error) {
	body, err := json.Marshal(alerts)
	if err != nil {
		return Receipt{}, fmt.Errorf("POST /api/v2/alerts: %w", err)
	}
	answer, err := c.do(ctx, http.MethodPost, "/api/v2/alerts", dry(dryRun), body)
	if p, ok := errors.AsType[*Problem](err); ok {
		if r, half := halfTaken(p); half {
			return r, nil
		}
	}
	if err != nil {
		return Receipt{}, err
	}
	if dryRun {
		return readMeant(answer)
	}
	return Receipt{Accepted: len(alerts)}, nil
}

// someRefused is how the Alertmanager door says that the good part of a batch counts; its answers are texts.
var someRefused = regexp.MustCompile(`^(\d{1,9}) of (\d{1,9}) alerts are refused, the others are stored`)

func halfTaken(p *Problem) (Receipt, bool) {
	said := someRefused.FindStringSubmatch(p.Detail)
	if p.Status != http.StatusBadRequest || said == nil {
		return Receipt{}, false
	}
	refused, _ := strconv.Atoi(said[1]) // digits, and not too many
	all, _ := strconv.Atoi(said[2])
	return Receipt{Accepted: max(0, all-refused), Refused: refused, Detail: p.Detail}, true
}

// SendEvent posts one event by the PagerDuty door; the event carries its routing_key.
func (c *Client) SendEvent(ctx context.Context, event json.RawMessage, dryRun bool) (Receipt, error) {
	answer, err := c.do(ctx, http.MethodPost, "/v2/enqueue", dry(dryRun), event)
	if err != nil {
		return Receipt{}, err
	}
	if dryRun {
		return readMeant(answer)
	}
	var said struct {
		Key string `json:"dedup_key"`
	}
	err = json.Unmarshal(answer, &said)
	if err != nil {
		return Receipt{}, fmt.Errorf("POST /v2/enqueue: %w: %w", ErrAnswer, err)
	}
	return Receipt{Accepted: 1, Key: said.Key}, nil
}

// SendTo posts one body by the door of a source of its own, such as one of kind json.
func (c *Client) SendTo(ctx context.Context, source string, body json.RawMessage, dryRun bool) (Receipt, error) {
	path := "/in/" + url.PathEscape(source)
	answer, err := c.do(ctx, http.MethodPost, path, dry(dryRun), body)
	if err != nil {
		return Receipt{}, err
	}
	if dryRun {
		return readMeant(answer)
	}
	var said struct {
		Accepted int           `json:"accepted"`
		Events   []string      `json:"events"`
		Refused  int           `json:"refused"`
		Errors   []ItemProblem `json:"errors"`
		Also     string        `json:"also_refused"`
	}
	err = json.Unmarshal(answer, &said)
	if err != nil {
		return Receipt{}, fmt.Errorf("POST %s: %w: %w", path, ErrAnswer, err)
	}
	return Receipt{Accepted: said.Accepted, Events: said.Events, Refused: said.Refused, Problems: said.Errors, Also: said.Also}, nil
}

func dry(run bool) url.Values {
	if run {
		return url.Values{"dry_run": {"1"}}
	}
	return nil
}

func readMeant(answer []byte) (Receipt, error) {
	var said struct {
		Alerts  []Meant       `json:"alerts"`
		Control string        `json:"control"`
		Refused int           `json:"refused"`
		Errors  []ItemProblem `json:"errors"`
		Also    string        `json:"also_refused"`
	}
	err := json.Unmarshal(answer, &said)
	if err != nil {
		return Receipt{}, fmt.Errorf("dry run: %w: %w", ErrAnswer, err)
	}
	return Receipt{Meant: said.Alerts, Control: said.Control, Refused: said.Refused, Problems: said.Errors, Also: said.Also}, nil
}
