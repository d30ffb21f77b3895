from django.urls import path

from finetunes.api import cross_validations, fine_tuning, jobs, retirements, strategy, training_sets

JOB = "fine-tunes/<int:key>"
MODEL = "tuned-models/<int:key>"
SET = "training-sets/<int:key>"
urlpatterns = [
    path("training-sets", training_sets.TrainingSetList.as_view()),
    path(SET, training_sets.TrainingSetDetail.as_view()),
    path(f"{SET}/estimate", training_sets.TrainingSetEstimate.as_view()),
    path(f"{SET}/files/<str:file>", training_sets.TrainingSetFile.as_view()),
    path(f"{SET}/cross-validations", cross_validations.CrossValidationsOfSet.as_view()),
    path("cross-validations", cross_validations.CrossValidationList.as_view()),
    path("cross-validations/<int:key>", cross_validations.CrossValidationDetail.as_view()),
    path("cross-validations/<int:key>/cancel", cross_validations.CrossValidationCancel.as_view()),
    path("fine-tunes", jobs.FineTuneList.as_view()),
    path(JOB, jobs.FineTuneDetail.as_view()),
    path(f"{JOB}/submit", jobs.FineTuneSubmit.as_view()),
    path(f"{JOB}/cancel", jobs.FineTuneCancel.as_view()),
    path(f"{JOB}/retry", jobs.FineTuneRetry.as_view()),
    path(f"{JOB}/events", jobs.FineTuneEvents.as_view()),
    path(f"{JOB}/curves", jobs.FineTuneCurves.as_view()),
    path("retirements", retirements.RetirementList.as_view()),
    path("tuned-models", jobs.TunedModelList.as_view()),
    path(MODEL, jobs.TunedModelDetail.as_view()),
    path(f"{MODEL}/deployed", jobs.TunedModelDeployed.as_view()),
    path(f"{MODEL}/measure", jobs.TunedModelMeasure.as_view()),
    path(f"{MODEL}/publish", jobs.TunedModelPublish.as_view()),
    path("strategy/recommendations", strategy.RecommendationList.as_view()),
    path("strategy/recommendations/<int:key>", strategy.RecommendationDetail.as_view()),
    path("strategy/policy", strategy.PolicyView.as_view()),
    path("providers/<str:name>/tuning", fine_tuning.ProviderTuning.as_view()),
    path("providers/<str:name>/tuning-prices", fine_tuning.ProviderTuningPrices.as_view()),
]
