"""What the server counts, for Prometheus. No address, file name or token is ever a label."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)
SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 11))


class Metrics:
    """The server's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = to = CollectorRegistry()
        self.requests = Counter(
            "mien_http_requests_total", "Requests answered.", ["route", "method", "code"], registry=to
        )
        self.duration = Histogram(
            "mien_http_request_duration_seconds",
            "Until the answer.",
            ["route"],
            buckets=SECONDS,
            registry=to,
        )
        self.stage = Histogram(
            "mien_stage_duration_seconds",
            "Of one picture: waiting, decoding, detecting, cutting, classifying.",
            ["stage"],
            buckets=SECONDS,
            registry=to,
        )
        self.pictures = Counter("mien_pictures_total", "Pictures read or not.", ["outcome"], registry=to)
        self.faces = Counter("mien_faces_total", "Faces read.", ["version", "label"], registry=to)
        self.confidence = Histogram(
            "mien_confidence", "Probability of the label.", ["version"], buckets=SHARES, registry=to
        )
        self.queue_pictures = Gauge("mien_queue_pictures", "Pictures admitted and not answered.", registry=to)
        self.queue_bytes = Gauge("mien_queue_bytes", "Bytes of bodies held.", registry=to)
        self.in_flight = Gauge("mien_in_flight", "Requests being answered.", registry=to)
        self.rejected = Counter("mien_rejected_total", "Requests turned away.", ["reason"], registry=to)
        self.model = Gauge(
            "mien_model_info", "1 for each version in use.", ["name", "version", "sha256", "role"], registry=to
        )
        self.swaps = Counter("mien_swaps_total", "Versions that took over, or were refused.", ["outcome"], registry=to)
        self.swap_duration = Histogram(
            "mien_swap_duration_seconds", "From a decision to the take-over.", buckets=SECONDS, registry=to
        )
        self.registry_up = Gauge("mien_registry_up", "Whether the registry answered last time.", registry=to)
        self.shadow_faces = Counter("mien_shadow_faces_total", "Faces that the shadow read.", ["version"], registry=to)
        self.shadow_disagreements = Counter(
            "mien_shadow_disagreements_total", "Faces with another label than production's.", ["version"], registry=to
        )
        self.shadow_distance = Histogram(
            "mien_shadow_distance",
            "Total variation between both answers, 0..1.",
            ["version"],
            buckets=SHARES,
            registry=to,
        )
        self.shadow_dropped = Counter(
            "mien_shadow_dropped_total", "Pictures the shadow had no time for.", ["version"], registry=to
        )
        self.shadow_errors = Counter(
            "mien_shadow_errors_total", "Pictures on which the shadow failed.", ["version"], registry=to
        )
        self.canary_requests = Counter(
            "mien_canary_requests_total", "Requests that the canary answered.", ["version"], registry=to
        )
        self.canary_stops = Counter(
            "mien_canary_stops_total", "Canaries that the server stopped by itself.", registry=to
        )

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self.registry)
