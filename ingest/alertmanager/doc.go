// Package alertmanager takes alerts as Prometheus sends them: POST /api/v2/alerts of Alertmanager's API v2.
//
// It is not the rest of that API: listing, silences and status are answered elsewhere.
//
// # What becomes of an alert
//
// Its identity is its label set, as {name="value",...} in the order of names, without what the configuration adds: two
// replicas that send the same set make one alert. Empty label values are removed. Without startsAt it starts now, or at endsAt
// if only that was sent; without endsAt it ends after the resolve timeout unless it is sent again; an endsAt that has passed
// resolves it. The severity is what label severity means in the source's own table, else in the words everybody knows. The
// summary is the first line of annotation summary, description or message, else the alert's name and what it is about. It is
// about the first label it has of: host, node, hostname, pod, instance, service, app, namespace, job, alertname.
//
// This kind sets no labels of its own: an alert has those that were sent, and the source's, which win.
//
// # Answers
//
// As Alertmanager's: 200 and nothing else; 400 and a JSON string that names each refused alert and field, while the others
// of the batch are stored. Fields that nobody knows are left alone, as Alertmanager does, but a known one in other letters
// (Labels) is refused. The limits of one alert stand in package ingest; one alert beyond them is refused, not the batch.
// What is no JSON, or doubles a name in what is not ours to read, is refused as a whole.
package alertmanager
