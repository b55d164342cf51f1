"""Train a churn model outside of Podium, and start its lifecycle with the run.

Copy this file into `dags/` and `churn.yaml` into `include/models/`. A plain task stands for the job that
trains on Spark, Ray or SageMaker: whatever runs there logs an MLflow run, and calls
`podium.training.announce` in it. The task after it updates the asset of the model file's section `training`.
"""

from datetime import UTC, timedelta

from airflow.sdk import Asset, Context, dag, task

from podium_airflow.elsewhere import tell_trained

MODEL = "churn"
TRAINED = Asset("trained churn")


@task
def train() -> str:
    """Fit a classifier on all but the newest 60 days; return the MLflow run."""
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from podium.model_file.loading import find_spec
    from podium.settings import models_dir, project_home
    from podium.training import announce

    spec = find_spec(models_dir(), MODEL)
    rows = pd.read_csv(project_home() / spec.data.source, parse_dates=["day"])
    as_of = rows["day"].max() + timedelta(days=1)
    known = rows[rows["day"] < as_of - timedelta(days=60)]
    inputs = known[list(spec.data.inputs)]
    mlflow.set_experiment(MODEL)
    with mlflow.start_run(run_name=f"as of {as_of.date()}"):
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs, known["churned"])
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(inputs, model.predict_proba(inputs)),
            input_example=inputs.head(3),
            pyfunc_predict_fn="predict_proba",
            pip_requirements=["scikit-learn"],
            serialization_format="skops",
        )
        return announce(MODEL, as_of=as_of.replace(tzinfo=UTC), trained_on=known)


@task(outlets=[TRAINED])
def tell(mlflow_run: str, **context: Context) -> None:
    """Start the lifecycle with the run; who triggered this Dag is who asked for it."""
    tell_trained(context, MODEL, mlflow_run)


@dag(schedule=None, catchup=False, doc_md=__doc__, tags=["example"], default_args={"owner": "customer-care"})
def train_churn() -> None:
    """Train, then tell."""
    tell(train())


train_churn()
