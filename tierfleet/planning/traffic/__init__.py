"""Traffic: traces of requests, rates by tenant and hour, sessions, and what is made of them for one fleet."""

from tierfleet.planning.traffic.rates import Rates, steady_rates
from tierfleet.planning.traffic.requests import Requests
from tierfleet.planning.traffic.sessions import Sessions

__all__ = ["Rates", "Requests", "Sessions", "steady_rates"]
