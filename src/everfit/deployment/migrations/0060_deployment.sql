CREATE TABLE deployment_releases (
    project TEXT NOT NULL,
    id TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    version BIGINT NOT NULL,
    steps TEXT NOT NULL,
    step BIGINT NOT NULL,
    state TEXT NOT NULL,
    step_since BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    live_at BIGINT,
    ended_at BIGINT,
    reason TEXT,
    revision BIGINT NOT NULL,
    PRIMARY KEY (project, id)
);
CREATE INDEX deployment_releases_by_endpoint ON deployment_releases (project, endpoint);
CREATE TABLE deployment_endpoints (
    project TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    revision BIGINT NOT NULL,
    champion BIGINT NOT NULL,
    candidate BIGINT,
    share DOUBLE PRECISION NOT NULL,
    shadow BIGINT NOT NULL,
    PRIMARY KEY (project, endpoint)
);
