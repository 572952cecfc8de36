package config

import (
	"testing"
	_ "time/tzdata"
)

func TestX(t *testing.T) {
	c, ps := Load("testdata/contract.yaml")
	for _, p := range ps {
		t.Log(p)
	}
	if c == nil { t.Fatal() }
	for _, s := range c.NotInForce() { t.Log(s) }
	t.Logf("%+v", c)
}
