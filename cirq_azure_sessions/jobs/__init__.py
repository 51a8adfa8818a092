"""The jobs of a sampler's calls: exactly once, under limits, results in order.

sweep      `SweepRun`: one call's points, jobs, results and failures
job        `JobRun`: one job from request to result, the only record of it in flight
runner     submit, follow, fetch: the policy
throttle   slots of the jobs in flight, and the gate for requests
"""
