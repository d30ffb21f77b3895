"""All configuration, read once from the environment.

Two ways to run, one code path. Embedded (DATABASE_URL is not set): addresses and keys come from the instance that
`manage.py up` runs in CUEBOOK_HOME. Production (DATABASE_URL is set): every address and secret must be given, and a
missing one stops the start with a sentence. docs/configuration.md lists the variables.
"""

import hashlib
import secrets
from pathlib import Path
from typing import Any

from django.urls import reverse_lazy
from kombu import Queue
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from config import environment as env
from config.embedded.home import Home
from infra.queues import QUEUES

BASE_DIR = Path(__file__).resolve().parent.parent
DATABASE_URL = env.secret("DATABASE_URL")
PRODUCTION = bool(DATABASE_URL)
DEBUG = False

# --- Addresses and secrets -------------------------------------------------------------------------------------------
HOME = Home(Path(env.text("CUEBOOK_HOME", str(BASE_DIR / "var"))))
INSTANCE = None if PRODUCTION else HOME.instance()
if PRODUCTION:
    SECRET_KEY = env.required("SECRET_KEY", env.secret("SECRET_KEY"), "it signs sessions; 50 random characters or more")
    ENCRYPTION_KEYS = env.fernet_keys("ENCRYPTION_KEYS")
    env.required("ENCRYPTION_KEYS", "".join(ENCRYPTION_KEYS), "it encrypts provider keys; Fernet keys, newest first")
    BROKER_URL = env.broker("BROKER_URL")
    ALLOWED_HOSTS = env.words("ALLOWED_HOSTS")
    env.required("ALLOWED_HOSTS", "".join(ALLOWED_HOSTS), "the host names that this service answers for")
else:
    stored = HOME.secrets()
    # Before the first start there is nothing to sign or decrypt, so a key of this process alone will do.
    SECRET_KEY = stored.secret_key if stored else secrets.token_urlsafe(48)
    ENCRYPTION_KEYS = [stored.encryption_key] if stored else []
    DATABASE_URL = INSTANCE.database_url if INSTANCE else f"postgresql:///cuebook?host={HOME.run}/postgres&user=app"
    BROKER_URL = env.secret("BROKER_URL") or (INSTANCE.broker_url if INSTANCE else "")
    ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")

# --- Applications ----------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "axes",
    "csp",
    "django_filters",
    "django_htmx",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "pgtrigger",
    "rest_framework",
    "pgvector.django",
    "config",
    "registry",
    "evaluations",
    "inference",
    "finetunes",
]
MIDDLEWARE = [
    "config.health.HealthMiddleware",
    "infra.http.client_address.ClientAddressMiddleware",
    "registry.operations.metrics.RequestMetricsMiddleware",
    "infra.http.middleware.RequestIdMiddleware",
    "infra.http.middleware.ReadToTheEndMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "infra.http.middleware.RefuseUnreadableMiddleware",
    "config.policy.PolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# --- Database --------------------------------------------------------------------------------------------------------
DATABASE_POOL_SIZE = env.integer("DATABASE_POOL_SIZE", 0)


def database(url: str, pool_size: int) -> dict[str, Any]:
    """Django's description of a libpq address; everything beyond the five usual parts becomes an option."""
    try:
        parts: dict[str, Any] = conninfo_to_dict(url)
    except ProgrammingError as error:
        raise env.ConfigurationError(
            f"DATABASE_URL is not a PostgreSQL address: {str(error).splitlines()[0]}"
        ) from None
    options: dict[str, Any] = {
        k: v for k, v in parts.items() if k not in {"dbname", "user", "password", "host", "port"}
    }
    # A database that hangs is noticed, and its request ends with an error instead of waiting for ever.
    options = {"connect_timeout": 5, "tcp_user_timeout": 15_000, "keepalives_idle": 10, **options}
    if pool_size:
        # A web process serves from many threads; the pool keeps each from opening a connection of its own.
        options["pool"] = {"min_size": 1, "max_size": pool_size, "timeout": 10}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.get("dbname", "cuebook"),
        "USER": parts.get("user", ""),
        "PASSWORD": parts.get("password", ""),
        "HOST": parts.get("host", ""),
        "PORT": str(parts.get("port", "")),
        "OPTIONS": options,
        "CONN_MAX_AGE": 0 if pool_size else 60,
        "CONN_HEALTH_CHECKS": not pool_size,
    }


# Requests that are in Django at once, beside reads that are answered from memory (registry.delivery.bulkhead). Twice as
# many wait, and the server has threads for those and for the reads.
WEB_PLACES = env.integer("WEB_PLACES", 16)

DATABASES = {"default": database(DATABASE_URL, DATABASE_POOL_SIZE)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Users -----------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "registry.User"
AUTHENTICATION_BACKENDS = ["registry.accounts.sign_in_limits.SignInLimits", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = reverse_lazy("registry:login")
LOGIN_REDIRECT_URL = reverse_lazy("registry:home")
LOGOUT_REDIRECT_URL = LOGIN_URL
# Ten wrong passwords for one name from one address close that pair for a quarter of an hour, fifty with any names the
# address (registry.accounts.sign_in_limits).
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "registry/locked_out.html"
AXES_VERBOSE = False

# --- Web security ----------------------------------------------------------------------------------------------------
# On by default wherever Cuebook is deployed; HTTPS=0 is for a trusted network without TLS.
HTTPS = env.boolean("HTTPS", default=PRODUCTION)
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
# Other hosts of the domain, and browsers' own lists, are the operator's to decide.
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.boolean("HSTS_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = env.boolean("HSTS_PRELOAD", default=False)
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "infra.rest.csrf_failure"
CSRF_TRUSTED_ORIGINS = [env.address("CSRF_TRUSTED_ORIGINS", origin) for origin in env.words("CSRF_TRUSTED_ORIGINS")]
BEHIND_PROXY = env.boolean("BEHIND_PROXY", default=False)
# So many proxies in front add to X-Forwarded-For; sign-in is limited by the address that the outermost of them saw.
TRUSTED_PROXIES = env.integer("TRUSTED_PROXIES", 1 if BEHIND_PROXY else 0)
if BEHIND_PROXY:
    # Only behind a proxy that always sets this header; otherwise a client could claim to use TLS.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
    }
}
# Larger bodies are refused before they are read (infra.rest); uploads of files stream and have limits of their own.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# --- Metrics ---------------------------------------------------------------------------------------------------------
# What Prometheus sends for /metrics; in production without one there is no such page.
METRICS_TOKEN = env.secret("METRICS_TOKEN")
PROMETHEUS_MULTIPROC_DIR = env.text("PROMETHEUS_MULTIPROC_DIR")

# --- Static files ----------------------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# --- Language and time -----------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
USE_I18N = False
TIME_ZONE = "UTC"

# --- Workers ---------------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = BROKER_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
# A task belongs to the broker until it is done: a killed worker's task runs again. Longer than the longest task.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 6 * 3600}
CELERY_TASK_TIME_LIMIT = 600
CELERY_TASK_SOFT_TIME_LIMIT = 570
# A task says its queue where it is declared.
CELERY_TASK_QUEUES = [Queue(name) for name in QUEUES]
CELERY_TASK_ROUTES = ("infra.queues.route",)
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Where infra.work notes what waits in a queue.
TASK_NOTICE_MODEL = "registry.TaskNotice"
CELERY_BEAT_SCHEDULE = {
    "clear expired sessions": {"task": "registry.tasks.clear_expired_sessions", "schedule": 6 * 3600},
    "clear old fetch counts and snapshots": {"task": "registry.tasks.clear_old", "schedule": 24 * 3600},
    "read, report and check what waits": {"task": "evaluations.tasks.reconcile", "schedule": 20},
    "look after fine-tune jobs": {"task": "finetunes.tasks.reconcile", "schedule": 5},
    "look at drift of what was tuned": {"task": "finetunes.tasks.look_at_drift", "schedule": 900},
    "follow recommendations": {"task": "finetunes.tasks.follow_recommendations", "schedule": 24 * 3600},
    "clear what is over for days": {"task": "evaluations.tasks.clear_old", "schedule": 24 * 3600},
    "run golden sets by night": {"task": "inference.tasks.look_at_golden_sets", "schedule": 300},
    "act on experiments": {
        "task": "inference.tasks.look_at_experiments",
        "schedule": 10,
        # A round that could not begin is of no use any more: the next one is there.
        "options": {"expires": 10},
    },
    "look at what is watched": {"task": "inference.tasks.look_at_monitors", "schedule": 60},
    "watch releases": {"task": "inference.tasks.watch_releases", "schedule": 600},
    "merge what calls come to": {"task": "inference.tasks.merge_usage", "schedule": 60},
    "make days of calls and drop old ones": {"task": "inference.tasks.clear_old", "schedule": 6 * 3600},
    "embed what waits": {"task": "registry.tasks.sweep_embeddings", "schedule": 20},
}

# --- Rendering of templates ------------------------------------------------------------------------------------------
# Child processes that render user-edited templates under limits, per web process.
RENDER_PROCESSES = env.integer("RENDER_PROCESSES", 3, at_least=1)

# --- Inference service -----------------------------------------------------------------------------------------------
# Its address, for the programs that pages show.
GATEWAY_URL = env.address("GATEWAY_URL", env.text("GATEWAY_URL")) or (INSTANCE.gateway_url if INSTANCE else "")
# Where records of calls wait for the database; on this machine's own disk, shared by its processes.
SPOOL = Path(env.text("SPOOL", str(HOME.root / "spool")))
# A function of one's own that takes out of a call's text what must not be kept: from a JSON value to one; runs after
# the patterns of the project.
TEXT_REDACTION = env.text("TEXT_REDACTION")
# Live calls: for how many days they are kept; their usage stays, by the minute for hours, by the hour for days, then
# by the day.
CALLS_RETENTION_DAYS = env.integer("CALLS_RETENTION_DAYS", 90, at_least=3)
USAGE_MINUTES_HOURS = env.integer("USAGE_MINUTES_HOURS", 48, at_least=1)
USAGE_HOURS_DAYS = env.integer("USAGE_HOURS_DAYS", 90, at_least=1)

# --- Images ----------------------------------------------------------------------------------------------------------
# The room that uploaded images of one project have together.
IMAGE_BYTES = env.integer("IMAGE_MEGABYTES", 1024, at_least=1) * 1024 * 1024

# --- Delivery --------------------------------------------------------------------------------------------------------
# The size of a web process's response cache (registry.delivery.wsgi).
DELIVERY_CACHE_BYTES = env.integer("DELIVERY_CACHE_MEGABYTES", 64, at_least=1) * 1024 * 1024

# --- Model providers -------------------------------------------------------------------------------------------------
# Hosts (`localhost`) or hosts with a port (`10.0.0.5:8000`) that providers may have although they are not public.
PROVIDER_PRIVATE_HOSTS = env.words("PROVIDER_PRIVATE_HOSTS", "" if PRODUCTION else "localhost,127.0.0.1,::1")
# The stand-in for a model provider (evaluations.sandbox): where it runs, and the key that it wants to see.
SANDBOX_URL = env.address("SANDBOX_URL", env.text("SANDBOX_URL")) or (INSTANCE.sandbox_url if INSTANCE else "")
SANDBOX_KEY = hashlib.sha256(f"sandbox {SECRET_KEY}".encode()).hexdigest()
# The engine with a real model on this machine (evaluations.local), where `manage.py up --local` has started one.
LOCAL_URL = env.address("LOCAL_URL", env.text("LOCAL_URL")) or (INSTANCE.local_url if INSTANCE else "")
# The model that it serves (a GGUF file); without one, that of the extra `local`.
LOCAL_MODEL = env.text("LOCAL_MODEL")
LOCAL_KEY = hashlib.sha256(f"local {SECRET_KEY}".encode()).hexdigest()

# --- Embeddings ------------------------------------------------------------------------------------------------------
# A server with OpenAI's /embeddings; without one, the model that is installed with Cuebook
# (registry.examples.embedders).
EMBEDDINGS_URL = env.address("EMBEDDINGS_URL", env.text("EMBEDDINGS_URL"))
EMBEDDINGS_API_KEY = env.secret("EMBEDDINGS_API_KEY")
EMBEDDINGS_MODEL = env.text("EMBEDDINGS_MODEL")
# The model that is installed with Cuebook costs a process that embeds 180 MB; without it, wording is compared.
EMBEDDINGS_LOCAL = env.boolean("EMBEDDINGS_LOCAL", default=True)
EMBEDDINGS_DIMENSIONS = env.integer("EMBEDDINGS_DIMENSIONS", 0)
if EMBEDDINGS_URL:
    env.required("EMBEDDINGS_MODEL", EMBEDDINGS_MODEL, "the model that EMBEDDINGS_URL is asked for")

# --- The demo project ------------------------------------------------------------------------------------------------
DEMO_SEEDS = [
    "registry.demo.seed",
    "evaluations.demo.seed",
    "inference.demo.seed",
    "finetunes.demo.seed",
]

# --- Promotions ------------------------------------------------------------------------------------------------------
# What apps ask of a version that is to be released: functions that return a refusal, or None.
VERSION_GUARDS = [
    "inference.configs.lifecycle.unreadable_config",
    "inference.experiments.lifecycle.unreadable_experiment",
]
# What apps do with each release, in its transaction: functions of the actor and the release; a Problem refuses it.
ON_RELEASE = ["inference.experiments.lifecycle.on_release"]
# Whether a version that is live may be promoted anew, for apps in which a release begins something.
MAY_RELEASE_AGAIN = "inference.experiments.lifecycle.may_begin_again"
# Whether a version is no text for a model, so that gates do not measure it.
IS_UNMEASURED = "inference.experiments.lifecycle.is_experiment"

# What experiments serve of a prompt in an environment, and in the whole of one (inference.experiments.serving).
EXPERIMENT_SPLIT = "inference.experiments.serving.split_for"
EXPERIMENT_SPLITS = "inference.experiments.serving.splits_in"

# What apps know of the collections that a version searches, beside its own: functions that return their names.
COLLECTIONS_SEARCHED = ["inference.configs.lifecycle.collections_searched"]

# --- REST ------------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "registry.api.authentication.KeyAuthentication",
        "registry.api.authentication.BrowserAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["registry.api.authentication.HasProject"],
    "DEFAULT_PARSER_CLASSES": ["infra.rest.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["infra.rest.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "infra.rest.CursorPagination",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "config.openapi.ProblemAwareSchema",
    "EXCEPTION_HANDLER": "infra.rest.problem_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Cuebook",
    "VERSION": "1",
    "DESCRIPTION": "A self-hosted prompt registry. Every refusal is a problem document (RFC 9457) with a stable code.",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "ChatProtocolEnum": "evaluations.providers.presets.PROTOCOL_CHOICES",
        "ProviderKindEnum": "evaluations.models.ProviderKind",
        "ImportStateEnum": "evaluations.models.ImportState",
        "ReportStateEnum": "evaluations.models.ReportState",
        "ProposalStateEnum": "evaluations.models.ProposalState",
        "RoundStateEnum": "evaluations.models.RoundState",
        "ComparisonStateEnum": "evaluations.models.ComparisonState",
        "SynthesisStateEnum": "evaluations.models.SynthesisState",
        "TrainingSetStateEnum": "finetunes.models.TrainingSetState",
        "CrossValidationStateEnum": "finetunes.models.CrossValidationState",
        "MonitorStateEnum": "inference.models.MonitorState",
        "FeedbackSourceEnum": "inference.models.FeedbackSource",
        "PlaygroundStateEnum": "evaluations.models.PlaygroundState",
    },
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums"],
}

# --- Administration --------------------------------------------------------------------------------------------------
UNFOLD = {
    "SITE_TITLE": "Cuebook",
    "SITE_HEADER": "Cuebook",
    "SITE_SYMBOL": "menu_book",
    "SHOW_VIEW_ON_SITE": False,
}

# --- Logging ---------------------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "infra.http.request_id.RequestIdFilter"}},
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name} [{request_id}] {message}", "style": "{"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]}},
    "root": {"handlers": ["stderr"], "level": env.choice("LOG_LEVEL", "INFO", env.LOG_LEVELS)},
    "loggers": {"django.request": {"level": "ERROR"}, "axes": {"level": "WARNING"}, "httpx2": {"level": "WARNING"}},
}
