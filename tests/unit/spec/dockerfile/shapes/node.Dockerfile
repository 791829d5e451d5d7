FROM node:20-bookworm-slim AS deps
WORKDIR /app
COPY package.json package-lock.json* ./
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev

FROM node:20-bookworm-slim AS build
WORKDIR /app
COPY --from=deps /app/node_modules ./node_modules
COPY . .
ARG NEXT_PUBLIC_API
RUN --mount=type=secret,id=npmrc,env=NPM_AUTH \
    if [ -n "${NEXT_PUBLIC_API}" ]; then echo "API=${NEXT_PUBLIC_API}" > .env; fi && npm run build

FROM gcr.io/distroless/nodejs20-debian12:nonroot
WORKDIR /app
LABEL org.opencontainers.image.source="https://example.org/app" \
      org.opencontainers.image.licenses='MIT'
COPY --from=build --parents /app/./dist /app/./public /srv/
COPY ["docs/read me.md", "/app/"]
CMD ["dist/server.js"]
