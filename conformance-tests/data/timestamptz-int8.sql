CREATE TABLE mo_peers (
    info_hash bytea NOT NULL,
    peer_id bytea NOT NULL,
    address inet NOT NULL,
    port int8 NOT NULL,
    is_seeder bool NOT NULL,
    is_v6 bool NOT NULL,
    created timestamptz NOT NULL,
    PRIMARY KEY (info_hash, peer_id, address, port)
);

CREATE TABLE mo_downloads (
    info_hash bytea PRIMARY KEY NOT NULL,
    downloads int8 NOT NULL DEFAULT 1
);

CREATE TABLE mo_kv (
    context text NOT NULL,
    name bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (context, name)
);
