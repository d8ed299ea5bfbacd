// Package inspect reads from a live cluster what decides how the calls of gRPC clients
// are spread, and what their channels have done. It writes nothing. Package balance
// judges.
package inspect
