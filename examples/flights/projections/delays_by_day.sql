-- refold: mode = async, owner = operations
-- How late were we, day by day?
SELECT time::DATE AS day,
       count(*) AS flights,
       avg(data.delay) AS mean_delay,
       max(data.delay) AS worst_delay,
       sum(data.distance) AS miles
FROM "flight.landed"
GROUP BY ALL
