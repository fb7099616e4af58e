import pytest
import torch
import torch.nn.functional as F

from ecgmtl.data.lead_algebra import extend_mask
from ecgmtl.model.encoders.cnn import CnnSettings
from ecgmtl.model.encoders.leadwise import LeadwiseSettings

SETTINGS = LeadwiseSettings(lead_widths=(4, 6), widths=(8, 10, 12))


@pytest.fixture
def encoder():
    encoder = SETTINGS.build(20).eval()
    for name, parameter in encoder.named_parameters():
        if name.endswith("second_norm.weight"):  # zero at the start, so that blocks begin as shortcuts
            torch.nn.init.ones_(parameter)
    return encoder


def test_the_first_level_joins_the_leads(encoder):
    assert encoder.widths == (8, 10, 12)
    assert encoder.strides == (4, 8, 16)


def test_each_lead_is_read_with_its_mask_by_a_cnn(encoder):
    signals, mask = torch.randn(3, 12, 250), torch.rand(3, 8, 250) < 0.3
    alone = CnnSettings(widths=(4, 6)).build(2).eval()
    alone.stem[0].weight.data, alone.stem[1] = encoder.leads.stem.weight.data, encoder.leads.norm
    alone.blocks[0].load_state_dict(encoder.leads.blocks[0].state_dict())
    rows = torch.stack([signals, extend_mask(mask).float()], dim=2)
    found = torch.stack([alone(rows[:, lead]) for lead in range(12)], dim=2)
    joined = torch.einsum("bclt,ocl->bot", found, encoder.leads.join.weight[..., 0])
    joined = F.relu(encoder.leads.join_norm(joined[:, :, None]))[:, :, 0]
    level = encoder.levels(torch.cat([signals, mask.float()], dim=1), 1)[0]
    torch.testing.assert_close(level, joined, atol=1e-5, rtol=1e-4)


def test_leads_share_all_weights_but_those_that_join_them(encoder):
    signals, other = torch.randn(2, 12, 200), torch.randperm(12)
    with torch.no_grad():
        wanted = encoder(signals)
        encoder.leads.join.weight.copy_(encoder.leads.join.weight[:, :, other])
    torch.testing.assert_close(encoder(signals[:, other]), wanted, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(encoder(signals), wanted, atol=1e-3)
