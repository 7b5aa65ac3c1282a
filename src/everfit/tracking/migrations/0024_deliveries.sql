CREATE TABLE tracking_deliveries (
    project TEXT NOT NULL,
    writer TEXT NOT NULL,
    segment BIGINT NOT NULL,
    byte BIGINT NOT NULL,
    refused TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (project, writer)
);
