-- The rates table: a row per tenant, kind of day and hour of the day (UTC), from a relation `requests` with two columns:
-- tenant (varchar) and seconds (double, Unix time). Standard SQL without parameters: the same text runs in DuckDB and
-- in Athena (Trino). No decimal literal: Trino would round a quotient to the literal's digits.
-- weekend: 1 on Saturdays and Sundays. gaps_within_*: of the times between a request and the tenant's next one, how
-- many are at most that long; from them the planner tells bursts from a high rate.
WITH gaps AS (
    SELECT
        tenant,
        CAST(FLOOR(seconds / 3600) AS BIGINT) AS unix_hour,
        CAST(FLOOR(seconds / 86400) AS BIGINT) AS unix_day,
        LEAD(seconds) OVER (PARTITION BY tenant ORDER BY seconds) - seconds AS gap_seconds
    FROM requests
),
span AS (
    SELECT MIN(seconds) AS first_seconds, MAX(seconds) AS last_seconds FROM requests
),
binned AS (
    SELECT
        tenant,
        gap_seconds,
        -- Unix time began on a Thursday.
        CASE WHEN MOD(unix_day + 3, 7) >= 5 THEN 1 ELSE 0 END AS weekend,
        MOD(unix_hour, 24) AS hour_of_day
    FROM gaps
)
SELECT
    binned.tenant AS tenant,
    binned.weekend AS weekend,
    binned.hour_of_day AS hour_of_day,
    COUNT(*) AS requests,
    MAX(span.first_seconds) AS first_seconds,
    MAX(span.last_seconds) AS last_seconds,
    SUM(CASE WHEN gap_seconds <= 10 THEN 1 ELSE 0 END) AS gaps_within_10_seconds,
    SUM(CASE WHEN gap_seconds <= 60 THEN 1 ELSE 0 END) AS gaps_within_1_minute,
    SUM(CASE WHEN gap_seconds <= 300 THEN 1 ELSE 0 END) AS gaps_within_5_minutes,
    SUM(CASE WHEN gap_seconds <= 1200 THEN 1 ELSE 0 END) AS gaps_within_20_minutes,
    SUM(CASE WHEN gap_seconds <= 3600 THEN 1 ELSE 0 END) AS gaps_within_1_hour
FROM binned CROSS JOIN span
GROUP BY binned.tenant, binned.weekend, binned.hour_of_day
ORDER BY binned.tenant, binned.weekend, binned.hour_of_day
