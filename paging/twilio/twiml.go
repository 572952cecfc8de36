package twilio

import (
	"strings"

	"github.com/twilio/twilio-go/twiml"

	"tocsin/paging"
)

const maxTwiml = 4000 // characters of TwiML that a call may carry with it

// call is the TwiML that a page's call carries: it speaks without asking us for anything.
func (p *Provider) call(m paging.Message) (string, error) {
	return fit(m.Text, func(text string) (string, error) {
		say := &twiml.VoiceSay{Message: text, Loop: "2"}
		if !m.CanAnswer || p.public == "" {
			return twiml.Voice([]twiml.Element{say})
		}
		return twiml.Voice([]twiml.Element{
			p.gather(m.ID, "", say),
			&twiml.VoiceSay{Message: "No key was pressed. Goodbye."},
		})
	})
}

// Ask answers a key press: it says text and waits for one more key about page. first is the digit that was pressed before,
// where a second is asked for (6 twice), and comes back in KeyPress.First.
func (p *Provider) Ask(page, text, first string) (string, error) {
	return fit(text, func(text string) (string, error) {
		return twiml.Voice([]twiml.Element{
			p.gather(page, first, &twiml.VoiceSay{Message: text}),
			&twiml.VoiceSay{Message: "No key was pressed. Goodbye."},
		})
	})
}

// Goodbye answers a key press: it says text and hangs up.
func (p *Provider) Goodbye(text string) (string, error) {
	return fit(text, func(text string) (string, error) {
		return twiml.Voice([]twiml.Element{&twiml.VoiceSay{Message: text}, &twiml.VoiceHangup{}})
	})
}

// ReplySMS answers an inbound SMS with text; "" answers without a message.
func (p *Provider) ReplySMS(text string) (string, error) {
	if text == "" {
		return twiml.Messages(nil)
	}
	return twiml.Messages([]twiml.Element{&twiml.MessagingMessage{Body: speakable(cut(text, maxSMS))}})
}

func (p *Provider) gather(page, first string, say *twiml.VoiceSay) *twiml.VoiceGather {
	return &twiml.VoiceGather{
		Input: "dtmf", NumDigits: "1", Timeout: "8", Method: "POST", Action: p.callback("voice", page, first),
		InnerElements: []twiml.Element{say},
	}
}

// fit shortens text until what make makes of it is no longer than a call may carry.
func fit(text string, build func(string) (string, error)) (string, error) {
	words := []rune(speakable(text))
	for {
		out, err := build(string(words))
		over := len([]rune(out)) - maxTwiml
		if err != nil || over <= 0 || len(words) == 0 {
			return out, err
		}
		words = words[:max(0, len(words)-max(over/6, 1))] // one character may stand as six, such as &quot;
	}
}

// speakable drops what XML cannot carry.
func speakable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return r
		}
		if r < ' ' || r == 0xFFFE || r == 0xFFFF {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
