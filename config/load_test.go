package config

import (
	"testing"
	_ "time/tzdata"
)

func TestX(t *testing.T) {
	for _, f := range []string{"a"} {
		_ = f
		c, ps := Parse("starter.yaml", Starter("127.0.0.1:8080", "http://127.0.0.1:8080", StarterSecrets{"a", "b", "0123456789abcdef0123456789abcdef", "d"}), Machine())
		for _, p := range ps {
			t.Log(p)
		}
		if c == nil {
			t.Fatal()
		}
		for _, s := range c.NotInForce() {
			t.Log(s)
		}
	}
}
