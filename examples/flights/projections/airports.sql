-- refold: mode = async, owner = network
-- Each airport of departure: the mean hides a lot, so the spread and the late share are here too.
SELECT data.origin AS airport,
       count(*) AS flights,
       avg(data.delay) AS mean_delay,
       stddev(data.delay) AS stddev_delay,
       count(*) FILTER (WHERE data.delay > 15) / count(*) AS share_late,
       approx_count_distinct(data.destination) AS routes
FROM "flight.landed"
GROUP BY ALL
