// Package observe writes down what is seen of one strategy while it runs:
// watches of endpoints and pods, the logs of both sides to their ends, and the
// audit log of the API server. All of it ends up in [Facts]. Nothing here judges.
package observe
