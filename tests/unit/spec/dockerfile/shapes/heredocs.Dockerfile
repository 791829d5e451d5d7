# syntax=docker/dockerfile:1
# escape=\
FROM scratch
ARG PORT=8080
ENV PORT=$PORT
RUN <<EOT bash -e
  apt-get update
  apt-get install -y "nginx=$(apt-cache policy nginx | sed -n 's/.*Candidate: //p')"
EOT
RUN <<-"EOF"
	#!/usr/bin/env python3
	print("hello")
	EOF
COPY <<server.conf <<"site.conf" /etc/nginx/
listen ${PORT};
server.conf
location / { root $document_root; }
site.conf
COPY --chmod=0755 <<-start /usr/bin/
	#!/bin/sh
	exec nginx -g 'daemon off;'
	start
EXPOSE $PORT
ONBUILD COPY --from=assets . /srv
ENTRYPOINT ["/usr/bin/start"]
