#
# made by a script
#
FROM debian:bookworm-slim

RUN set -eux; \
	groupadd -r store --gid=999; \
# a home for its files
	useradd -r -g store --uid=999 --home-dir=/var/lib/store store; \
	install --verbose --directory --owner store --group store --mode 1777 /var/lib/store

ENV LANG=en_US.utf8
ENV STORE_MAJOR=16 STORE_VERSION='16.1-1.pgdg120+1'

RUN set -ex; \
	case "$(dpkg --print-architecture)" in \
		amd64 | arm64) echo "deb [ signed-by=/k.asc ] https://x/apt/ bookworm-store main $STORE_MAJOR" > /etc/a.list ;; \
		*) exit 1 ;; \
	esac; \
	apt-get install -y "store-$STORE_MAJOR=$STORE_VERSION"; \
	rm -rf /var/lib/apt/lists/*

ENV STORE_DATA=/var/lib/store/data
VOLUME $STORE_DATA
COPY docker-entrypoint.sh docker-ensure-initdb.sh /usr/local/bin/
RUN ln -sT docker-ensure-initdb.sh /usr/local/bin/docker-enforce-initdb.sh
ENTRYPOINT ["docker-entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["store"]
