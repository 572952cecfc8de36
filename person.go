package tocsin

// A Person may be on call. What a person is called in the configuration is the name; Full is for other people's eyes.
type Person struct {
	Name     string   // key in the configuration, such as one
	Full     string   // Person One
	Email    string   // "" where there is none
	Phone    string   // E.164, "" where there is none
	TimeZone string   // IANA name, such as Europe/Berlin
	Role     string   // reporter, responder, manager, comms, owner, analyst, auditor, admin
	Skills   []string // what skill/NAME finds
}
