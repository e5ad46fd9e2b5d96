-- refold: mode = async, owner = network
-- Each pair of airports: how much is flown, how late, how far.
SELECT data.origin AS origin,
       data.destination AS destination,
       count(*) AS flights,
       sum(data.delay) AS delay,
       avg(data.delay) AS mean_delay,
       min(data.delay) AS best,
       max(data.delay) AS worst,
       max(data.distance) AS miles
FROM "flight.landed"
GROUP BY ALL
