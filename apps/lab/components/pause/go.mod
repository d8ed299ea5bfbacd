module github.com/grpc-lb/grpc-lb/apps/lab/components/pause

go 1.26.0
