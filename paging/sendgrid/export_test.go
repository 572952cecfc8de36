package sendgrid

// Parse is what stands behind the signature, for the fuzz target.
var Parse = parse
